"""What of ours still costs money, in every region of the EU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from emr.account import AwsError
from emr.context import Context
from emr.request import Request, read_tags
from emr.settings import EU_REGIONS
from emr.transfer import list_objects
from fruits.errors import FruitsError

_ALIVE = ["pending", "running", "stopping", "stopped"]
# What AWS says of a region that an account has not opted into: nothing can be there.
_CLOSED = ("AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired")
# What it says to somebody who may not look: anything can be there.
_DENIED = (
    *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"),
    *("PermanentRedirect", "AuthorizationHeaderMalformed"),
)
_PERMISSIONS = (
    "elasticmapreduce:ListClusters, ec2:DescribeInstances, ec2:DescribeVolumes, ec2:DescribeAddresses, "
    "s3:ListAllMyBuckets, s3:GetBucketTagging, s3:ListBucket"
)


@dataclass(frozen=True)
class Finding:
    """Something of ours that costs money."""

    region: str
    kind: str
    name: str
    detail: str


@dataclass
class View:
    """What was found, and where nobody could look.

    Parameters
    ----------
    unseen
        What was not shown, and the code of the refusal.
    seen
        The regions of which all was shown.
    """

    found: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def look(self, what: str, find: Callable[[], list[Finding]]) -> None:
        """Add what is found, or that looking is denied."""
        try:
            self.found += find()
        except AwsError as error:
            if error.code not in _DENIED:
                raise
            self.unseen.append(f"{what} ({error.code})")


def audit(context: Context) -> list[Finding]:
    """Tell, region by region, what of ours is alive; nothing is changed.

    Raises
    ------
    FruitsError
        If something could not be looked at: then nobody knows that nothing is there.
    """
    view = View()
    for region in EU_REGIONS:
        before = len(view.unseen)
        try:
            audit_region(context, view, region)
        except AwsError as error:
            # The cluster's own region is open: there these codes tell of wrong credentials.
            if error.code not in _CLOSED or region == context.settings.region:
                raise
            context.say(f"{region}: not open to this account ({error.code}); not looked at.")
        else:
            view.seen += [region] if len(view.unseen) == before else []
    _find_buckets(context, view)
    if context.account.dry_run:
        return []
    _tell(context, view)
    return view.found


def audit_region(context: Context, view: View, region: str) -> None:
    """Find clusters by name, and instances, volumes and addresses by our tag."""
    tagged = [{"Name": f"tag:{key}", "Values": [value]} for key, value in context.settings.tags.items()]
    alive = [*tagged, {"Name": "instance-state-name", "Values": _ALIVE}]

    def read(operation: str, key: str, filters: list[dict[str, Any]]) -> list[Any]:
        return context.account.read_all(Request("ec2", operation, {"Filters": filters}), key=key, region=region)

    def instances() -> list[Finding]:
        found = (entry for group in read("describe_instances", "Reservations", alive) for entry in group["Instances"])
        return [Finding(region, "instance", entry["InstanceId"], _describe(entry)) for entry in found]

    def volumes() -> list[Finding]:
        found = read("describe_volumes", "Volumes", tagged)
        return [Finding(region, "volume", entry["VolumeId"], f"{entry['Size']} GB") for entry in found]

    def addresses() -> list[Finding]:
        found = read("describe_addresses", "Addresses", tagged)
        return [Finding(region, "address", entry["AllocationId"], entry["PublicIp"]) for entry in found]

    view.look(f"clusters in {region}", lambda: _find_clusters(context, region))
    view.look(f"instances in {region}", instances)
    view.look(f"volumes in {region}", volumes)
    view.look(f"addresses in {region}", addresses)


def _find_clusters(context: Context, region: str) -> list[Finding]:
    states = {"ClusterStates": ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]}
    found = context.account.read_all(Request("emr", "list_clusters", states), key="Clusters", region=region)
    ours = (entry for entry in found if entry["Name"] == context.settings.name)
    return [Finding(region, "cluster", entry["Id"], entry["Status"]["State"]) for entry in ours]


def _describe(instance: dict[str, Any]) -> str:
    return f"{instance['InstanceType']} {instance['State']['Name']}"


def _find_buckets(context: Context, view: View) -> None:
    names: list[str] = []

    def list_names() -> list[Finding]:
        names.extend(entry["Name"] for entry in context.account.read_all(Request("s3", "list_buckets"), key="Buckets"))
        return []

    view.look("the list of buckets", list_names)
    for name in names:
        view.look(f"bucket {name}", partial(_find_bucket, context, name))


def _find_bucket(context: Context, bucket: str) -> list[Finding]:
    request = Request("s3", "get_bucket_tagging", {"Bucket": bucket}, fine=("NoSuchTagSet", "NoSuchBucket"))
    tags = context.account.read(request) or {}
    if not read_tags(tags.get("TagSet")).items() >= context.settings.tags.items():
        return []
    size = sum(entry.size for entry in list_objects(context.account, bucket, "").values())
    month = size / 1e9 * context.settings.prices["s3_gb_month"]
    return [Finding("S3", "bucket", bucket, f"{size / 2**20:.1f} MiB, {month:.3f} USD a month")]


def _tell(context: Context, view: View) -> None:
    for finding in view.found:
        context.say(f"{finding.region:<13} {finding.kind:<9} {finding.name:<24} {finding.detail}")
    if view.found:
        context.say(
            f"{len(view.found)} things of ours are there: scripts/aws_setup.sh terminate, then cleanup, remove them."
        )
    elif view.seen:
        context.say(f"Nothing of ours in {', '.join(view.seen)}.")
    if view.unseen:
        raise FruitsError(
            f"not seen, so that things of ours may be there: {'; '.join(view.unseen)}. Your user or role needs "
            f"{_PERMISSIONS}; ask for them, or look there by the console, then repeat audit."
        )
