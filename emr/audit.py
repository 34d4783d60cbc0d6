"""Our resources that still cost money, in every region of the EU."""

from collections.abc import Iterator

from emr.cluster import OVER, read_cluster
from emr.context import SETUP, Context
from fruits.aws import EU_REGIONS, read_code
from fruits.errors import FruitsError

# ARNs begin arn:aws:SERVICE:REGION:ACCOUNT:KIND/... ; the other resources of the stacks are free.
_COSTS = ("ec2:instance", "ec2:volume", "ec2:elastic-ip", "s3:")
# What AWS says of a region that an account has not opted into: nothing can be there.
_CLOSED = ("InvalidClientTokenId", "UnrecognizedClient", "OptInRequired", "AuthFailure")


def audit(context: Context) -> dict[str, object] | None:
    """List our resources that still cost money, in all regions of the EU."""
    from botocore.exceptions import ClientError

    if context.dry_run:
        return {"reads": [f"tag:GetResources in {region}" for region in EU_REGIONS]}
    found, unseen = 0, []
    for region in EU_REGIONS:
        try:
            for service, name, detail in _list_resources(context, region):
                context.say(f"{region:<13} {service:<17} {name}  {detail}")
                found += detail != "free"
        except ClientError as error:
            code = read_code(error)
            # The region of the settings is open: there these codes mean wrong credentials.
            if code in _CLOSED and region != context.settings.region:
                context.say(f"{region}: not open to this account ({code}); not looked at.")
                continue
            unseen.append(f"{region} ({code})")
    if unseen:
        raise FruitsError(
            f"not seen, so that things of ours may be there: {', '.join(unseen)}. Your user or role needs "
            "tag:GetResources and elasticmapreduce:DescribeCluster (emr/policy.json); or look there in AWS's console."
        )
    told = f"{found} cost money: {SETUP} cleanup. What has just ended may be listed for another hour."
    context.say(told if found else "Nothing of ours costs money.")
    return None


def _list_resources(context: Context, region: str) -> Iterator[tuple[str, str, str]]:
    """Yield service and name of each resource with our tag, and its state; clusters and keys that are over excepted."""
    client = context.client("resourcegroupstaggingapi", region=region)
    tags = [{"Key": "project", "Values": [context.settings.name]}]
    for page in client.get_paginator("get_resources").paginate(TagFilters=tags):
        for arn in (entry["ResourceARN"] for entry in page["ResourceTagMappingList"]):
            _, _, service, _, _, name = arn.split(":", 5)
            state = "costs money" if f"{service}:{name}".startswith(_COSTS) else "free"
            if service == "elasticmapreduce":
                cluster = name.partition("/")[2]
                found = read_cluster(context.client("emr", region=region), cluster)
                state = found["Status"]["State"] if found else OVER[0]
                name += f" (aws emr terminate-clusters --region {region} --cluster-ids {cluster})"
            elif service == "ecr":
                place = name.partition("/")[2]
                images = context.client("ecr", region=region).describe_images(repositoryName=place)["imageDetails"]
                state = "costs money" if images else "free"
            elif service == "kms":
                state = context.client("kms", region=region).describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
            if state not in (*OVER, "PendingDeletion"):
                yield service, name, state
