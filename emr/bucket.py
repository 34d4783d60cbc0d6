"""Where everything lies in the bucket, and `params/emr.yaml`, which tells the runs."""

import re

from emr.context import Context
from fruits import folders
from fruits.errors import UsageError
from fruits.params import list_modes, repository

RAW = "data/raw/"
FEATURES = "data/features/"
MODELS = "data/models/"
REPORTS = "reports/"
LOGS = "logs/"
JUPYTER = "jupyter/"
# The user of JupyterHub that EMR makes. What the Hub saves in S3 lies in a folder of this name.
HUB_USER = "jovyan"
CODE = "code/"
EXAMPLE = "params/emr.example.yaml"


def prefixes() -> list[str]:
    """Return the folders of the bucket, one for each mode among them."""
    return [RAW, FEATURES, MODELS, *(f"data/{mode}/" for mode in list_modes()), REPORTS, LOGS, JUPYTER, CODE]


def write_params(context: Context) -> None:
    """Write `params/emr.yaml` for the bucket; what a person changed in it stays, but for the bucket."""
    file = context.params_file
    old = file.read_text(encoding="utf-8") if file.is_file() else None
    text = fill_params(old or (repository() / EXAMPLE).read_text(encoding="utf-8"), bucket=context.bucket)
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
