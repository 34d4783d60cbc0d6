"""Two runs over the same images: what differs between them, and whether that is more than noise."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fruits import ownership
from fruits.comparison.facts import UNKNOWN
from fruits.comparison.findings import (
    Finding,
    compare_accuracies,
    compare_features,
    compare_neighbours,
    compare_variances,
)
from fruits.comparison.runs import Run
from fruits.features import store
from fruits.features.batches import list_batches
from fruits.params import keys_of
from fruits.results import METADATA
from fruits.s3 import TAG
from fruits.tables import FORMATS

_NAMES = {"git_commit": "commit", "sha256": "weights", "input_size": "input size"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two runs, what was changed from the first to the second, the number of their common images, the findings."""

    left: Run
    right: Run
    changes: Sequence[str]
    images: int
    findings: Sequence[Finding]

    @property
    def name(self) -> str:
        """The names of both."""
        return f"{self.left.name} and {self.right.name}"

    def describe(self) -> str:
        """Return the findings as Markdown: a sentence about the pair and a list."""
        changed = "; ".join(self.changes) or "nothing that the manifests record"
        lines = [f"- {finding.what}: **{finding.verdict}**: {finding.said}." for finding in self.findings]
        return f"{self.images:,} images in common. Changed: {changed}.\n\n" + "\n".join(lines)


def compare_pairs(runs: Sequence[Run]) -> list[Pair]:
    """Compare each two runs over the images that they have in common."""
    images = {run.name: read_images(run) for run in runs}
    return [
        compare_pair(left, right, images=match_images(images[left.name], images[right.name]))
        for left, right in itertools.combinations(runs, 2)
    ]


def tabulate_pairs(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return verdicts and figures as texts: a row for each pair, a column for each thing that was compared."""
    rows = {}
    for pair in pairs:
        # A test of both runs has a column of its own; the column `accuracy` would say of others that there is none.
        cells = {finding.what.removeprefix("accuracy, "): finding.brief for finding in pair.findings}
        rows[pair.name] = {"common images": f"{pair.images:,}", **cells}
    table = pd.DataFrame.from_dict(rows, orient="index")
    order = sorted(table, key=lambda name: name == "neighbours")
    return table[order].drop(columns=["accuracy", "images"], errors="ignore").fillna(UNKNOWN)


def compare_pair(left: Run, right: Run, *, images: pd.DataFrame | None) -> Pair:
    """Compare two runs; `images` is what `match_images` returns."""
    changes = list_changes(left, right)
    if images is None or not len(images):
        notes = [f"{run.name}: {run.note}" for run in (left, right) if run.note]
        findings = [Finding(what="images", said="; ".join(notes) or "the runs have no images in common")]
        if images is None and _chose_alike(left, right):
            findings += compare_accuracies(left, right)
        return Pair(left=left, right=right, changes=changes, images=0, findings=findings)
    whole = all(len(images) == run.find("counts", "features") for run in (left, right))
    findings = [compare_features(left, right, images)]
    if whole:
        findings += [compare_variances(left, right), *compare_accuracies(left, right)]
    else:
        said = "one run has images that the other has not"
        findings += [Finding(what="variances", said=said), Finding(what="accuracy", said=said)]
    findings.append(compare_neighbours(left, right, images))
    return Pair(left=left, right=right, changes=changes, images=len(images), findings=findings)


def _chose_alike(left: Run, right: Run) -> bool:
    """Tell by the parameters whether two runs took the same images: the results of one are not there."""
    keys = [("params", key) for key in ownership.SAME - {"target", "model_id"}]
    return all(left.find(*key) == right.find(*key) for key in [*keys, ("counts", "features")])


def list_changes(left: Run, right: Run) -> list[str]:
    """Return what the manifests of two runs say differently: network, parameters, code and versions."""
    keys: list[tuple[str, ...]] = [("model", key) for key in ("backbone", "engine", "input_size", "sha256")]
    keys += [("params", key) for key in keys_of("what") if key not in {"name", "mode"}]
    keys += [("git_commit",), *(("versions", name) for name in sorted(left.find("versions") or {}))]
    changed = [(key[-1], left.find(*key), right.find(*key)) for key in keys]
    return [f"{_NAMES.get(name, name)}: {_show(one)} → {_show(other)}" for name, one, other in changed if one != other]


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str("unknown" if value is None else value)
    return text[:7] if len(text) >= 40 and text.isalnum() else text


def read_images(run: Run) -> pd.DataFrame | None:
    """Return path, label, split and length of the images of a run; None without its results.

    Where the store knows the image, there are its digest, file and row too.
    """
    if run.results is None:
        return None
    images = FORMATS[run.find("params", "csv") or "international"].read_table(run.results / METADATA)
    features = run.results.parent / "features" / str(run.find("model", "model_id"))
    known = store.read_keys(list_batches(features)).drop_duplicates(["path", "length"], keep="last")
    return images.drop(columns="modified").merge(known.drop(columns="modified"), on=["path", "length"], how="left")


def match_images(left: pd.DataFrame | None, right: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the images that two runs have in common, by path and length, and by content where it is known of both.

    The columns are those of `read_images`, once with `_left` and once with `_right`, and path and length.
    """
    if left is None or right is None:
        return None
    both = left.merge(right, on=["path", "length"], suffixes=("_left", "_right"))
    digests = [both[f"digest_{side}"].fillna("") for side in ("left", "right")]
    hashed = [(digest != "") & ~digest.str.startswith(TAG) for digest in digests]
    return both[~(hashed[0] & hashed[1] & (digests[0] != digests[1]))].sort_values("path", ignore_index=True)
