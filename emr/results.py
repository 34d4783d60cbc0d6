"""Results back from the bucket, into folders of their own, so that they never mix with runs of this machine."""

from pathlib import Path

from emr.bucket import FEATURES, MODELS, RAW, REPORTS
from emr.context import Context
from emr.request import Request
from emr.transfer import Moved, download, list_objects
from fruits.errors import UsageError
from fruits.ownership import MARKER, check_whole
from fruits.params import check_mode

RESULTS = Path("data") / "emr_output"
_NOT_RESULTS = (RAW, MODELS)


def download_results(context: Context, *, modes: tuple[str, ...], features: bool) -> None:
    """Bring tables into `data/emr_output/` and reports into `reports/emr/`; those there already are not sent again.

    Parameters
    ----------
    modes
        Only these; empty takes all.
    features
        The stored features too: 5 kB an image.

    Raises
    ------
    FruitsError
        If the tables of a mode are not those of one run: a run wrote meanwhile, or older files lie there.
    """
    for mode in modes:
        check_mode(mode)
    account, bucket = context.account, context.bucket
    if account.dry_run:
        for prefix in ("data/", f"{REPORTS}emr/"):
            account.send(Request("s3", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix}))
        return
    left_out = _NOT_RESULTS if features else (*_NOT_RESULTS, FEATURES)
    tables = [entry for key, entry in list_objects(account, bucket, "data/").items() if not key.startswith(left_out)]
    reports = list(list_objects(account, bucket, f"{REPORTS}emr/").values())
    if modes:
        kept = tuple(f"data/{mode}/" for mode in modes) + ((FEATURES,) if features else ())
        tables = [entry for entry in tables if entry.key.startswith(kept)]
        reports = [entry for entry in reports if entry.key.startswith(tuple(f"{REPORTS}emr/{mode}/" for mode in modes))]
    if not tables and not reports:
        raise UsageError(f"s3://{bucket} holds no results yet; first run: scripts/aws_setup.sh run MINI")
    for entries, prefix, folder in (
        (tables, "data/", context.home / RESULTS),
        (reports, f"{REPORTS}emr/", context.home / "reports" / "emr"),
    ):
        moved = download(account, entries, bucket=bucket, prefix=prefix, folder=folder)
        context.say(f"{folder}: {moved.describe('fetched')}")
    for marker in sorted({context.home / RESULTS / Path(entry.key).parts[1] / MARKER for entry in tables}):
        if marker.is_file():
            check_whole(marker.parent)


def fetch_folder(context: Context, prefix: str, folder: Path) -> Moved:
    """Bring everything below a prefix into a folder."""
    entries = list_objects(context.account, context.bucket, prefix).values()
    return download(context.account, entries, bucket=context.bucket, prefix=prefix, folder=folder)
