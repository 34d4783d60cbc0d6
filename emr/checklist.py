"""The migration's checklist: each line ticked, or what to do about it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from emr import bucket as buckets
from emr import cluster as clusters
from emr import keypair, roles
from emr.context import Context
from emr.settings import check_release
from emr.request import Request
from emr.shipment import input_prefix
from emr.transfer import list_objects
from fruits.errors import FruitsError

SECTIONS = ("prerequisites", "bucket", "cluster", "execution", "finalisation")
_SETUP = "scripts/aws_setup.sh"


@dataclass(frozen=True)
class Line:
    """A line of the checklist; `todo` is what to do if it is not done."""

    section: str
    what: str
    done: bool
    todo: str = ""


def check(context: Context) -> bool:
    """Tell every line, and return whether the prerequisites are met: without them nothing else can be."""
    lines = list(read_lines(context))
    for section in SECTIONS:
        context.say(f"{section.capitalize()}:")
        for line in (line for line in lines if line.section == section):
            context.say(f"  [{'x' if line.done else ' '}] {line.what}{'' if line.done else f'  ->  {line.todo}'}")
    return all(line.done for line in lines if line.section == "prerequisites")


def read_lines(context: Context) -> Iterator[Line]:
    """Yield the lines in their order; without credentials those of this machine alone."""
    identity = _try(lambda: context.account.read(Request("sts", "get_caller_identity")))
    yield from _prerequisites(context, who=identity)
    if not isinstance(identity, dict):
        return
    bucket = context.state.get("bucket")
    yield Line("bucket", "bucket made", bool(bucket), f"{_SETUP} create-bucket NAME")
    if bucket:
        yield from _bucket(context, bucket)
    yield from _cluster(context)
    yield from _execution(context, bucket)
    found = list((context.home / "reports" / "emr").glob("*/run.html"))
    yield Line("finalisation", "report of the cluster on this machine", bool(found), f"{_SETUP} download-results")
    alive = clusters.find_cluster(context)
    yield Line("finalisation", "no cluster left running", alive is None, clusters.TERMINATE)


def _prerequisites(context: Context, *, who: object) -> Iterator[Line]:
    section = "prerequisites"
    name = f" of {who['Arn'].rpartition(':')[2]}" if isinstance(who, dict) else ""
    yield Line(section, f"AWS credentials{name}", isinstance(who, dict), str(who))
    yield Line(section, f"region {context.settings.region} is in the EU", True)
    warning = _try(lambda: check_release(context.settings.release, today=datetime.now(UTC).date()))
    refused = isinstance(warning, FruitsError)
    yield Line(section, f"release {context.settings.release} has JupyterHub and Python 3.11", not refused, str(warning))
    if warning and not refused:
        yield Line("cluster", "release within standard support", False, str(warning))
    ssh, plugin = shutil.which("ssh"), shutil.which("session-manager-plugin")
    yield Line(section, "ssh, or the session-manager-plugin", bool(ssh or plugin), "install an OpenSSH client")
    key = context.key_file
    private = key.is_file() and not key.stat().st_mode & 0o077
    yield Line(
        "cluster", f"key file {key.name}, for its owner alone", private, f"{_SETUP} create-keypair (or use --ssm)"
    )


def _bucket(context: Context, bucket: str) -> Iterator[Line]:
    read, one, section = context.account.read, {"Bucket": bucket}, "bucket"
    again = f"{_SETUP} create-bucket {bucket}"
    location = read(Request("s3", "get_bucket_location", one, fine=("NoSuchBucket",)))
    yield Line(section, f"{bucket} exists", location is not None, again)
    if location is None:
        return
    place = _try(lambda: buckets.check_location(location, bucket=bucket, region=context.settings.region))
    yield Line(section, f"in {context.settings.region}", place is None, str(place))
    fine = (
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchBucketPolicy",
    )
    block = read(Request("s3", "get_public_access_block", one, fine=fine)) or {}
    closed = block.get("PublicAccessBlockConfiguration", {})
    yield Line(section, "public access blocked", len(closed) == 4 and all(closed.values()), again)
    encryption = read(Request("s3", "get_bucket_encryption", one, fine=fine))
    yield Line(section, "encrypted", encryption is not None, again)
    policy = read(Request("s3", "get_bucket_policy", one, fine=fine)) or {}
    yield Line(section, "TLS only", "aws:SecureTransport" in policy.get("Policy", ""), again)
    written = context.params_file.is_file() and f"s3://{bucket}/" in context.params_file.read_text(encoding="utf-8")
    yield Line(section, "params/emr.yaml names it", written, again)


def _cluster(context: Context) -> Iterator[Line]:
    section, key = "cluster", keypair.key_name(context.settings)
    found = (context.account.read(keypair.find_request(context.settings)) or {}).get("KeyPairs")
    yield Line(section, f"key pair {key} in EC2", bool(found), f"{_SETUP} create-keypair (or use --ssm)")
    role = Request("iam", "get_role", {"RoleName": roles.node_role(context.settings)}, fine=("NoSuchEntity",))
    yield Line(section, "roles", context.account.read(role) is not None, f"{_SETUP} create-cluster makes them")
    cluster = clusters.find_cluster(context)
    state = clusters.describe(context, cluster)["Status"]["State"] if cluster else "none"
    yield Line(section, f"cluster ready ({state})", state in clusters.READY, f"{_SETUP} create-cluster")


def _execution(context: Context, bucket: str | None) -> Iterator[Line]:
    section, upload = "execution", f"{_SETUP} upload-dataset"
    there = {
        "code": buckets.CODE,
        "model as a flatbuffer": buckets.MODELS,
        "images": input_prefix(context) if bucket else "",
        "a report": f"{buckets.REPORTS}emr/",
    }
    for what, prefix in there.items():
        count = len(list_objects(context.account, bucket, prefix)) if bucket else 0
        todo = f"{_SETUP} run MINI" if prefix.startswith(buckets.REPORTS) else upload
        yield Line(section, f"{what} in the bucket ({count} objects)", count > 0, todo)


def _try(read: Callable[[], object]) -> object:
    """Return what was read, or the error that says why not."""
    try:
        return read()
    except FruitsError as error:
        return error
