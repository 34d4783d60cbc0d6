"""What costs nothing while no cluster runs: the stack `base` with the bucket, and `params/emr.yaml`."""

import re
from typing import Any

from emr import cluster, stacks
from emr.context import SETUP, Context
from emr.transfer import delete_objects
from emr.tunnel import KNOWN_HOSTS, fetch_key
from fruits import folders
from fruits.aws import read_code
from fruits.errors import UsageError
from fruits.params import repository

EXAMPLE = "params/emr.example.yaml"


def create_bucket(context: Context, name: str) -> dict[str, Any] | None:
    """Make the private bucket NAME, network, roles and key (stack base), and params/emr.yaml."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
        raise UsageError(f"bucket {name!r}: allowed: 3 to 63 lower-case letters, digits and -, unique in the world.")
    settings, keys = context.settings, ("name", "zone", "log_days", "multipart_days")
    parameters = stacks.fill_parameters(settings, *keys, BucketName=name, NewBucket="true")
    if context.dry_run:
        return {"stacks": [stacks.plan(context, "base", parameters)]}
    base = stacks.find(context, "base")
    earlier = base.outputs.get("Bucket") if base else context.memory.get("bucket")
    if earlier not in (None, name):
        other = f"{SETUP} cleanup, or --set name=ANOTHER"
        raise UsageError(f"the bucket of {settings.name} is {earlier} already. For another one: {other}.")
    if base and base.status not in stacks.USELESS:
        parameters["NewBucket"] = base.parameters["NewBucket"]
    elif _is_left_over(context, name):
        parameters["NewBucket"] = "false"
    stacks.finish(context, stacks.begin(context, "base", parameters))
    context.remember(name)
    fetch_key(context)
    write_params(context)
    context.say(f"Bucket {name} in {settings.region} is ready. Only what it stores costs money.")
    return None


def write_params(context: Context) -> None:
    """Write `params/emr.yaml` for the bucket; what a person changed in it stays, but for the bucket."""
    file = context.params_file
    old = (file if file.is_file() else repository() / EXAMPLE).read_text(encoding="utf-8")
    folders.write_bytes(file, fill_params(old, bucket=context.bucket).encode())
    context.say(f"Parameters: {file}")


def fill_params(text: str, *, bucket: str) -> str:
    """Put the bucket in the place of the one that `output_dir` names."""
    named = re.search(r"^output_dir:\s*[\"']?(s3://[^/\s]+/)", text, re.MULTILINE)
    if named is None:
        raise UsageError("params/emr.yaml: output_dir names no bucket (s3://BUCKET/...); mend or delete the file.")
    return text.replace(named[1], f"s3://{bucket}/")


def _is_left_over(context: Context, name: str) -> bool:
    """Tell whether `cleanup --keep-bucket` left this bucket, as the memory knows; refuse any other that is there."""
    from botocore.exceptions import ClientError

    try:
        context.client("s3").get_bucket_location(Bucket=name)
    except ClientError as error:
        if read_code(error) == "NoSuchBucket":
            return False
        if read_code(error) != "AccessDenied":
            raise
        raise UsageError(f"bucket {name} belongs to another account, as it seems. Choose another name.") from error
    if context.memory.get("bucket") != name:
        raise UsageError(
            f"bucket {name} is there, and was not made from here: it holds other things, which cleanup would delete. "
            "Choose another name."
        )
    return True


def cleanup(context: Context, *, keep_bucket: bool) -> dict[str, Any] | None:
    """Remove all that was made here, the bucket with all in it, and nothing else."""
    names = [f"{context.settings.name}-{which}" for which in ("cluster", "image", "base")]
    if context.dry_run:
        return {"delete": names if keep_bucket else [*names, f"s3://{context.bucket}"]}
    base = stacks.find(context, "base")
    bucket = (base.outputs if base else {}).get("Bucket") or context.memory.get("bucket")
    kept = "" if keep_bucket or not bucket else f", params/emr.yaml and the bucket {bucket} with all in it"
    context.ask(f"Remove the stacks {', '.join(names)}{kept}? It cannot be undone.")
    cluster.terminate(context)
    stacks.delete(context, "image")
    if base:
        _free(context, base)
        stacks.delete(context, "base")
        for file in (context.key_file, context.home / KNOWN_HOSTS):
            file.unlink(missing_ok=True)
    if bucket and not keep_bucket:
        _remove_bucket(context, bucket)
        context.params_file.unlink(missing_ok=True)
        context.forget()
    context.say(f"Done. `{SETUP} audit` looks for what may be left, in all regions.")
    return None


def _free(context: Context, base: stacks.Stack) -> None:
    """Undo what would block the deletion: EMR's own rules in both groups, policies that people attached to roles."""
    ec2, iam = context.client("ec2"), context.client("iam")
    for group in (base.outputs[key] for key in ("PrimaryGroup", "NodesGroup") if key in base.outputs):
        (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        # The rules of the template are for all protocols, EMR's are not.
        rules = [rule for rule in found["IpPermissions"] if rule["IpProtocol"] != "-1"]
        if named := [rule for rule in rules if rule.get("UserIdGroupPairs")]:
            ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=named)
    keys, template = ("NodeRole", "ServiceRole", "StopRole"), stacks.read_template("base")
    for role in (base.outputs[key].rpartition("/")[2] for key in keys if key in base.outputs):
        for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            if policy["PolicyArn"] not in template:
                iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            if f"PolicyName: {name}\n" not in template:
                iam.delete_role_policy(RoleName=role, PolicyName=name)


def _remove_bucket(context: Context, bucket: str) -> None:
    from botocore.exceptions import ClientError

    s3 = context.client("s3")
    try:
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for entry in page.get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=entry["Key"], UploadId=entry["UploadId"])
        found = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket).search("Contents[].Key")
        delete_objects(s3, bucket, [key for key in found if key])
        s3.delete_bucket(Bucket=bucket)
    except ClientError as error:
        if read_code(error) != "NoSuchBucket":
            raise
