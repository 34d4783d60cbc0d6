"""What whoever started a run is told when it ends or is stopped."""

import textwrap
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fruits import folders, results
from fruits.features.batches import list_batches, name_batch
from fruits.manifest import STAGES, list_rates
from fruits.pca import format_share, format_target

COLUMNS = 80
MOST_LINES = 12


def describe_run(manifest: Mapping[str, Any], *, results_dir: Path, report: Path, seconds: float) -> list[str]:
    """Say what a run did: images, errors, ignored files, components, seconds, notes, and where the results lie.

    Returns at most 12 lines; only one that a file's name or a long word makes longer has more than 80 columns.
    """
    counts, pca, stages = manifest["counts"], manifest["pca"], manifest["seconds"]
    lines = [
        f"Images:  {counts['listed']:,} listed = {counts['features']:,} with features + {counts['errors']:,} errors",
        f"         {counts['computed']:,} computed in this run, {counts['reused']:,} reused",
    ]
    if counts["errors"]:
        lines.append(f"Errors:  {counts['errors']:,}, with reasons in {results_dir / results.ERRORS}")
    lines += _describe_ignored(manifest, results_dir)
    lines.append(f"PCA:     {_describe_target(pca)}")
    lines += _describe_quality(list_rates(manifest))
    took = ", ".join(f"{stage}\xa0{stages[stage]:.1f}" for stage in STAGES)
    times = _wrap(f"Seconds: {seconds:.1f} in all: {took}", most=2)
    places = [f"Results: {results_dir}", f"Report:  {report}"]
    return [*lines, *times, *_describe_notes(manifest, most=MOST_LINES - len(lines + times + places)), *places]


def _describe_quality(rates: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say how often the nearest neighbour is right, with the largest number of components that all tests have."""
    shared = [k for k in next(iter(rates.values()), {}) if k != "all" and all(k in rate for rate in rates.values())]
    if not shared:
        return []
    k = shared[-1]
    said = ", ".join(f"{name}\xa0{100 * rate[k]:.1f}%" for name, rate in rates.items())
    return _wrap(f"Quality: {said} right by 1-nearest neighbour with k = {k}", most=2)


def _describe_ignored(manifest: Mapping[str, Any], results_dir: Path) -> list[str]:
    """Name the files that are no images: how many, of which kinds, and the file that lists them."""
    if not manifest["ignored"]:
        return []
    kinds = manifest.get("ignored_kinds")
    if kinds is None:
        return [f"Ignored: {manifest['ignored']:,} other files in the class folders"]
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    text = ", ".join(f"{count:,} {kind}" for kind, count in ordered)
    file = results_dir / results.IGNORED
    return [*_wrap(f"Ignored: {manifest['ignored']:,} files: {text}", most=2), f"         all in {file}"]


def _describe_target(pca: Mapping[str, Any]) -> str:
    needed = pca["components_for_target"]
    kept, target = format_share(pca["cumulative"], digits=2), format_target(pca["variance_target"])
    reached = f"is reached with {needed}" if needed else "is not reached"
    return f"k = {pca['kept']}, {kept} of the variance kept; target {target} {reached}"


def _describe_notes(manifest: Mapping[str, Any], *, most: int) -> list[str]:
    notes = manifest.get("notes", [])
    lines = [line for note in notes for line in _wrap(f"Note:    {note}", most=most)]
    more = f"Note:    {len(notes)} in all, in manifest.json beside the report"
    return lines if len(lines) <= most else [*lines[: most - 1], more]


def _wrap(text: str, *, most: int) -> list[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "placeholder": " ..."}
    lines = textwrap.wrap(text, COLUMNS, subsequent_indent=" " * len("Images:  "), max_lines=most, **options)
    return [line.replace("\xa0", " ") for line in lines]


def describe_stop(output_dir: Path, *, began: datetime, fresh: bool) -> str:
    """Say what a run that began at a time, in UTC, and was stopped has kept, and how to go on."""
    stores = [batches for store in (output_dir / "features").glob("*") if (batches := list_batches(store))]
    # The store that was written last is that of the run, if the run has written anything.
    batches = max(stores, key=lambda found: found[-1].name, default=[])
    if not batches or batches[-1].name < name_batch(began):
        return "nothing was stored yet: the same command starts it again"
    files = [file for batch in batches for file in batch.glob("*.parquet")]
    count = sum(folders.open_parquet(file).metadata.num_rows for file in files)
    command = "the same command without --fresh" if fresh else "the same command"
    return f"features of {count:,} images are kept; {command} goes on from there"
