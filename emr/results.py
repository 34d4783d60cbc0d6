"""Results back from the bucket, into folders of their own, so that they never mix with runs of this machine."""

import csv
from pathlib import Path
from typing import Any

from emr.context import FEATURES, MODELS, RAW, REPORTS, SETUP, Context
from emr.transfer import download, list_objects
from fruits.errors import UsageError
from fruits.ownership import MARKER, check_whole
from fruits.params import check_mode

RESULTS = Path("data") / "emr_output"
_REPORTS = f"{REPORTS}emr/"


def download_results(context: Context, *, modes: tuple[str, ...], features: bool) -> dict[str, Any] | None:
    """Bring the results of MODES (default: all) to data/emr_output/ and reports/emr/."""
    for mode in modes:
        check_mode(mode)
    prefixes = [prefix for mode in modes for prefix in (f"data/{mode}/", f"{_REPORTS}{mode}/")] or ["data/", _REPORTS]
    prefixes += [FEATURES] if features and modes else []
    if context.dry_run:
        return {"bucket": context.bucket, "download": prefixes}
    left_out = (RAW, MODELS) if features else (RAW, MODELS, FEATURES)
    keys = [key for prefix in prefixes for key in fetch(context, prefix, left_out=left_out)]
    if not keys:
        raise UsageError(f"s3://{context.bucket} holds no results yet; first run: {SETUP} run MINI")
    for folder in sorted({context.home / RESULTS / key.split("/")[1] for key in keys if key.startswith("data/")}):
        if (folder / MARKER).is_file():
            check_whole(folder)
            _warn_of_formulas(context, folder)
    return None


def fetch(context: Context, prefix: str, *, left_out: tuple[str, ...] = ()) -> list[str]:
    """Bring reports to `reports/emr/`, or else data to `data/emr_output/`, what is there excepted; return all keys."""
    found = list_objects(context.client("s3"), context.bucket, prefix)
    keys = [key for key in found if not key.startswith(left_out)]
    top, folder = (_REPORTS, Path("reports/emr")) if prefix.startswith(_REPORTS) else ("data/", RESULTS)
    if keys:
        done = download(context, [found[key] for key in keys], prefix=top, folder=context.home / folder)
        context.say(f"{folder}: {done}")
    return keys


def _warn_of_formulas(context: Context, folder: Path) -> None:
    """Tell of labels that a spreadsheet takes for formulas; in tables of `csv: excel-fr` they are neutral."""
    from fruits.results import METADATA

    with (folder / METADATA).open(encoding="utf-8", newline="") as stream:
        labels = {row.get("label") or "" for row in csv.DictReader(stream)}
    if risky := sorted(label for label in labels if label.startswith(("=", "+", "-", "@"))):
        context.say(
            f"{folder}: a spreadsheet takes labels such as {risky[0]!r} for formulas. Open its CSV files in other "
            "programs, or run again with csv: excel-fr in params/emr.yaml, which neutralises them."
        )
