"""The bucket: made private, encrypted, reached by TLS alone, with lives for its logs; and `params/emr.yaml` for it."""

import json
import re
from typing import Any

from emr.context import Context
from emr.request import Request, read_tags, tag_list
from emr.settings import Settings, check_region
from fruits import folders
from fruits.errors import UsageError
from fruits.params import list_modes, repository

# Where everything lies in the bucket.
RAW = "data/raw/"
FEATURES = "data/features/"
MODELS = "data/models/"
REPORTS = "reports/"
LOGS = "logs/"
JUPYTER = "jupyter/"
CODE = "code/"
EXAMPLE = "params/emr.example.yaml"


def prefixes() -> list[str]:
    """Return the folders of the bucket, one for each mode among them."""
    modes = [f"data/{mode}/" for mode in list_modes()]
    return [RAW, FEATURES, MODELS, *modes, REPORTS, LOGS, JUPYTER, CODE]


def check_name(bucket: str) -> None:
    """Refuse a name that S3 or TLS would refuse.

    Raises
    ------
    UsageError
        Saying what is allowed.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket):
        raise UsageError(
            f"bucket {bucket!r}: allowed: 3 to 63 lower-case letters, digits and - (no dots: TLS would not match). "
            "Names are shared by the whole world; add something of your own, such as fruits-yourname-2026."
        )


def tls_only(bucket: str) -> dict[str, Any]:
    """Build the policy that denies everything to a connection without TLS."""
    arn = f"arn:aws:s3:::{bucket}"
    deny = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [deny]}


def lifecycle(settings: Settings) -> dict[str, Any]:
    """Build the rules that delete old logs and what broken uploads left behind."""
    abort = {"DaysAfterInitiation": settings.multipart_days}
    return {
        "Rules": [
            {
                "ID": "broken-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": abort,
            },
            {
                "ID": "old-logs",
                "Status": "Enabled",
                "Filter": {"Prefix": LOGS},
                "Expiration": {"Days": settings.log_days},
            },
        ]
    }


def create_request(bucket: str, region: str) -> Request:
    """Build the request that makes the bucket, in its region, owned by its owner alone."""
    arguments = {
        "Bucket": bucket,
        "CreateBucketConfiguration": {"LocationConstraint": region},
        "ObjectOwnership": "BucketOwnerEnforced",
    }
    return Request("s3", "create_bucket", arguments, fine=("BucketAlreadyOwnedByYou",))


def setup_requests(bucket: str, settings: Settings) -> list[Request]:
    """Build what makes the bucket ours and safe; each may be repeated. The tag comes first: cleanup goes by it."""
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    sse = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    parts: list[tuple[str, dict[str, Any]]] = [
        ("put_bucket_tagging", {"Tagging": {"TagSet": tag_list(settings.tags)}}),
        ("put_public_access_block", {"PublicAccessBlockConfiguration": closed}),
        (
            "put_bucket_ownership_controls",
            {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
        ),
        ("put_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [sse]}}),
        ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": lifecycle(settings)}),
    ]
    requests = [Request("s3", operation, {"Bucket": bucket} | arguments) for operation, arguments in parts]
    requests += [Request("s3", "put_object", {"Bucket": bucket, "Key": prefix, "Body": ""}) for prefix in prefixes()]
    return [*requests, Request("s3", "put_bucket_policy", {"Bucket": bucket, "Policy": json.dumps(tls_only(bucket))})]


def create_bucket(context: Context, bucket: str) -> None:
    """Make the bucket, or mend one of ours, and write `params/emr.yaml` for it.

    Raises
    ------
    UsageError
        For a name that is taken, or a bucket that is not ours or not in the EU.
    """
    check_name(bucket)
    settings, account = context.settings, context.account
    check_free(context, bucket)
    account.send(create_request(bucket, settings.region))
    for request in setup_requests(bucket, settings):
        account.send(request)
    earlier = context.state.get("bucket")
    if earlier not in (None, bucket):
        context.say(f"Until now it was {earlier}: it stays, and cleanup removes {bucket} alone; `audit` lists both.")
    context.state.update(bucket=bucket, region=settings.region)
    context.say(f"Bucket {bucket} in {settings.region}: private, encrypted, TLS only, tagged project={settings.name}.")
    if not account.dry_run:
        write_params(context, bucket)


def check_free(context: Context, bucket: str) -> None:
    """Refuse a bucket of somebody else, of another project, or outside the region.

    Raises
    ------
    UsageError
        Naming what the bucket is.
    """
    # Denied: somebody else's. S3 says so in better words when it is asked to make one of the same name.
    request = Request("s3", "get_bucket_location", {"Bucket": bucket}, fine=("NoSuchBucket", "AccessDenied"))
    found = context.account.read(request)
    if found is None:
        return
    check_location(found, bucket=bucket, region=context.settings.region)
    if is_ours(context, bucket):
        return
    listing = context.account.read(Request("s3", "list_objects_v2", {"Bucket": bucket, "MaxKeys": 1})) or {}
    if listing.get("KeyCount"):  # an empty one may be ours, cut short before it was tagged
        raise UsageError(
            f"bucket {bucket} is yours but holds other things (no tag project={context.settings.name}); cleanup would "
            "delete them. Choose another name."
        )


def check_location(answer: dict[str, Any], *, bucket: str, region: str) -> None:
    """Refuse a bucket outside the EU or outside the region of the cluster.

    Raises
    ------
    UsageError
        Naming where it lies.
    """
    # S3 says null for us-east-1 and EU for the oldest buckets of eu-west-1.
    place = {None: "us-east-1", "EU": "eu-west-1"}.get(answer["LocationConstraint"], answer["LocationConstraint"])
    check_region(str(place), what=f"bucket {bucket}")
    if place != region:
        raise UsageError(
            f"bucket {bucket} lies in {place}, the cluster in {region}; set region: {place}, or make another."
        )


def check_place(context: Context, bucket: str) -> None:
    """Ask S3 where a bucket lies, before anything is sent there or computed on it; as `check_location`."""
    location = context.account.read(Request("s3", "get_bucket_location", {"Bucket": bucket}))
    if location is not None:
        check_location(location, bucket=bucket, region=context.settings.region)


def is_ours(context: Context, bucket: str) -> bool:
    """Tell whether a bucket bears our tag."""
    tags = context.account.read(
        Request("s3", "get_bucket_tagging", {"Bucket": bucket}, fine=("NoSuchTagSet", "NoSuchBucket"))
    )
    return read_tags((tags or {}).get("TagSet")).items() >= context.settings.tags.items()


def write_params(context: Context, bucket: str) -> None:
    """Write `params/emr.yaml` for this bucket; what a person changed in it stays, but for the bucket."""
    file = context.params_file
    old = file.read_text(encoding="utf-8") if file.is_file() else None
    text = fill_params(old or (repository() / EXAMPLE).read_text(encoding="utf-8"), bucket=bucket)
    if text != old:
        folders.write_bytes(file, text.encode())
    context.say(f"Parameters: {file}")


def fill_params(text: str, *, bucket: str) -> str:
    """Put the bucket in the place of the one that `output_dir` names."""
    named = re.search(r"^output_dir:\s*[\"']?s3://([^/\s\"']+)", text, re.MULTILINE)
    if named is None:
        raise UsageError("params/emr.yaml: output_dir names no bucket (s3://BUCKET/...); mend it, or delete the file.")
    kept = text.replace(
        "On AWS EMR: copy to params/emr.yaml (git-ignored) and put your bucket in the place of BUCKET.",
        "On AWS EMR; written by `scripts/aws_setup.sh create-bucket`, git-ignored.",
    )
    return re.sub(rf"s3://{re.escape(named[1])}(?=[/\s\"']|$)", f"s3://{bucket}", kept, flags=re.MULTILINE)
