"""What of ours still costs money, in every region of the EU."""

from dataclasses import dataclass
from typing import Any

from emr.context import Context
from emr.request import Request, read_tags
from emr.settings import EU_REGIONS
from emr.transfer import list_objects
from fruits.errors import FruitsError

_ALIVE = ["pending", "running", "stopping", "stopped"]
# What AWS says of a region that an account has not opted into.
_CLOSED = (
    "AuthFailure",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "OptInRequired",
    "AccessDeniedException",
)


@dataclass(frozen=True)
class Finding:
    """Something of ours that costs money."""

    region: str
    kind: str
    name: str
    detail: str


def audit(context: Context) -> list[Finding]:
    """Tell, region by region, what of ours is alive; nothing is changed."""
    found: list[Finding] = []
    for region in EU_REGIONS:
        try:
            found += audit_region(context, region)
        except FruitsError as error:
            if getattr(error, "code", None) not in _CLOSED:
                raise
            context.say(
                f"{region}: not open to this account, or not to you ({getattr(error, 'code', '')}); not looked at."
            )
    found += _find_buckets(context)
    for finding in found:
        context.say(f"{finding.region:<13} {finding.kind:<9} {finding.name:<24} {finding.detail}")
    if context.account.dry_run:
        return []
    if found:
        context.say(
            f"{len(found)} things of ours are there: scripts/aws_setup.sh terminate, then cleanup, remove them."
        )
    else:
        context.say(f"Nothing of ours in {', '.join(EU_REGIONS)}.")
    return found


def audit_region(context: Context, region: str) -> list[Finding]:
    """Find clusters by name, and instances, volumes and addresses by our tag."""
    account, name = context.account, context.settings.name
    clusters = account.read_all(
        Request("emr", "list_clusters", {"ClusterStates": ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]}),
        key="Clusters",
        region=region,
    )
    found = [Finding(region, "cluster", c["Id"], c["Status"]["State"]) for c in clusters if c["Name"] == name]
    tagged = [{"Name": f"tag:{key}", "Values": [value]} for key, value in context.settings.tags.items()]
    alive = [*tagged, {"Name": "instance-state-name", "Values": _ALIVE}]
    reservations = account.read_all(
        Request("ec2", "describe_instances", {"Filters": alive}), key="Reservations", region=region
    )
    instances = (instance for entry in reservations for instance in entry["Instances"])
    found += [Finding(region, "instance", instance["InstanceId"], _describe(instance)) for instance in instances]
    volumes = account.read_all(Request("ec2", "describe_volumes", {"Filters": tagged}), key="Volumes", region=region)
    found += [Finding(region, "volume", entry["VolumeId"], f"{entry['Size']} GB") for entry in volumes]
    addresses = account.read(Request("ec2", "describe_addresses", {"Filters": tagged}), region=region) or {}
    return found + [
        Finding(region, "address", entry["AllocationId"], entry["PublicIp"]) for entry in addresses.get("Addresses", [])
    ]


def _describe(instance: dict[str, Any]) -> str:
    return f"{instance['InstanceType']} {instance['State']['Name']}"


def _find_buckets(context: Context) -> list[Finding]:
    found = []
    for entry in context.account.read_all(Request("s3", "list_buckets"), key="Buckets"):
        bucket = entry["Name"]
        fine = ("NoSuchTagSet", "NoSuchBucket", "AccessDenied", "PermanentRedirect", "AuthorizationHeaderMalformed")
        tags = context.account.read(Request("s3", "get_bucket_tagging", {"Bucket": bucket}, fine=fine)) or {}
        if read_tags(tags.get("TagSet")).items() >= context.settings.tags.items():
            size = sum(entry.size for entry in list_objects(context.account, bucket, "").values())
            month = size / 1e9 * context.settings.prices["s3_gb_month"]
            found.append(Finding("S3", "bucket", bucket, f"{size / 2**20:.1f} MiB, {month:.3f} USD a month"))
    return found
