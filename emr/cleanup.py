"""Everything that was made is removed, and nothing else: each thing is asked for its tag first."""

import time

from emr import bucket as buckets
from emr import keypair, network, nodes, roles
from emr.account import AwsError
from emr.context import Context
from emr.request import Request, read_tags, tag_list
from emr.transfer import delete_objects
from emr.tunnel import KNOWN_HOSTS
from fruits.errors import FruitsError

_CARD_PATIENCE = 180


def cleanup(context: Context, *, keep_bucket: bool) -> None:
    """End our clusters and remove groups, key, roles, security configuration, tags, and the bucket with all in it.

    Raises
    ------
    FruitsError
        If the remembered cluster or the bucket does not bear our tag.
    """
    bucket = context.state.get("bucket")
    what = (
        "everything of ours" if keep_bucket or not bucket else f"everything of ours, the bucket {bucket} with all in it"
    )
    context.ask(f"Remove {what}? It cannot be undone.")
    if context.account.dry_run:
        _plan(context, bucket=None if keep_bucket else bucket)
        return
    # It raises for a remembered cluster that is not ours: its roles and groups stay.
    nodes.terminate(context)
    for remove in (_remove_groups, _remove_subnet_tags, _remove_keypair, _remove_roles, _remove_security_configuration):
        remove(context)
    if bucket and not keep_bucket:
        remove_bucket(context, bucket)
        if context.params_file.is_file():
            context.params_file.unlink()
            context.say(f"removed {context.params_file}")
        context.state.forget()
    if not bucket:
        context.say("No bucket is remembered here. `audit` lists those of ours; `create-bucket NAME` takes one back.")
    (context.home / KNOWN_HOSTS).unlink(missing_ok=True)
    context.say("Done. `audit` looks for what may be left, in all regions.")


def remove_bucket(context: Context, bucket: str) -> None:
    """Empty a bucket of ours and remove it.

    Raises
    ------
    FruitsError
        If it does not bear our tag.
    """
    account = context.account
    there = account.read(Request("s3", "get_bucket_location", {"Bucket": bucket}, fine=("NoSuchBucket",)))
    if there is None:
        return
    if not buckets.is_ours(context, bucket):
        raise FruitsError(f"bucket {bucket} does not bear the tag project={context.settings.name}: it is left alone.")
    uploads = account.read_all(Request("s3", "list_multipart_uploads", {"Bucket": bucket}), key="Uploads")
    for entry in uploads:
        one = {"Bucket": bucket, "Key": entry["Key"], "UploadId": entry["UploadId"]}
        account.send(Request("s3", "abort_multipart_upload", one, fine=("NoSuchUpload",)))
    keys = [e["Key"] for e in account.read_all(Request("s3", "list_objects_v2", {"Bucket": bucket}), key="Contents")]
    delete_objects(account, bucket, keys)
    account.send(Request("s3", "delete_bucket", {"Bucket": bucket}, fine=("NoSuchBucket",)))
    context.say(f"removed bucket {bucket} ({len(keys)} objects)")


def _remove_groups(context: Context) -> None:
    """Remove the groups; EMR has made rules in each that name the other, which go first."""
    found = [group for role in network.ROLES if (group := network.find_group(context, role))]
    for group in found:
        for direction, rules in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
            named = [rule for rule in group.get(rules, []) if rule.get("UserIdGroupPairs")]
            if named:
                arguments = {"GroupId": group["GroupId"], "IpPermissions": named}
                operation = f"revoke_security_group_{direction}"
                context.account.send(Request("ec2", operation, arguments, fine=("InvalidPermission.NotFound",)))
    for group in found:
        _delete_group(context, group["GroupId"])
        context.say(f"removed security group {group['GroupName']}")


def _delete_group(context: Context, group: str) -> None:
    """Delete a group, waiting for the network cards of nodes that have only just ended."""
    request = Request("ec2", "delete_security_group", {"GroupId": group}, fine=("InvalidGroup.NotFound",))
    deadline = time.monotonic() + _CARD_PATIENCE
    while True:
        try:
            context.account.send(request)
        except AwsError as error:
            if error.code != "DependencyViolation" or time.monotonic() > deadline:
                raise
            time.sleep(5)
        else:
            return


def _remove_subnet_tags(context: Context) -> None:
    """Take the tags off the subnet that bears ours: only then were EMR's put there by us."""
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in context.settings.tags.items()]
    found = context.account.read(Request("ec2", "describe_subnets", {"Filters": filters})) or {}
    for subnet in found.get("Subnets", []):
        tags = tag_list(context.settings.tags | roles.EMR_TAG)
        context.account.send(Request("ec2", "delete_tags", {"Resources": [subnet["SubnetId"]], "Tags": tags}))
        context.say(f"removed our tags from {subnet['SubnetId']}")


def _remove_keypair(context: Context) -> None:
    found = (context.account.read(keypair.find_request(context.settings)) or {}).get("KeyPairs", [])
    name = keypair.key_name(context.settings)
    if found and _bears_tag(context, found[0].get("Tags"), what=f"key pair {name}"):
        context.account.send(Request("ec2", "delete_key_pair", {"KeyName": name}))
        context.key_file.unlink(missing_ok=True)
        context.say(f"removed key pair {name} and {context.key_file}")


def _remove_roles(context: Context) -> None:
    for role in (roles.node_role(context.settings), roles.service_role(context.settings)):
        found = context.account.read(Request("iam", "get_role", {"RoleName": role}, fine=("NoSuchEntity",)))
        if found is None or not _bears_tag(context, found["Role"].get("Tags"), what=f"role {role}"):
            continue
        for request in roles.delete_requests(context.settings):
            if role in request.arguments.values():
                context.account.send(request)
        context.say(f"removed role {role}")


def _remove_security_configuration(context: Context) -> None:
    """Remove it by its exact name: EMR gives these no tags."""
    name = {"Name": roles.security_configuration(context.settings)}
    fine = ("InvalidRequestException", "ResourceNotFoundException")
    if context.account.read(Request("emr", "describe_security_configuration", name, fine=fine)) is not None:
        context.account.send(Request("emr", "delete_security_configuration", name))
        context.say(f"removed security configuration {name['Name']}")


def _bears_tag(context: Context, tags: list[dict[str, str]] | None, *, what: str) -> bool:
    if read_tags(tags).items() >= context.settings.tags.items():
        return True
    context.say(f"{what} does not bear the tag project={context.settings.name}: it is left alone.")
    return False


def _plan(context: Context, *, bucket: str | None) -> None:
    """Note what would be sent if all of it were there."""
    settings, send = context.settings, context.account.send
    requests: list[Request] = []
    if cluster := context.state.get("cluster"):
        requests.append(Request("emr", "terminate_job_flows", {"JobFlowIds": [cluster]}))
    groups = [f"<{network.group_name(settings, role)}>" for role in network.ROLES]
    requests += [Request("ec2", "delete_security_group", {"GroupId": group}) for group in groups]
    requests.append(Request("ec2", "delete_key_pair", {"KeyName": keypair.key_name(settings)}))
    requests += roles.delete_requests(settings)
    name = {"Name": roles.security_configuration(settings)}
    requests.append(Request("emr", "delete_security_configuration", name))
    if bucket:
        requests.append(Request("s3", "delete_bucket", {"Bucket": bucket}))
    for request in requests:
        send(request)
