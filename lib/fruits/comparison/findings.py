"""What differs between two runs over the same images, and whether it is more than noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fruits.arrow import to_matrix
from fruits.comparison.facts import UNKNOWN, choose_k, list_accuracies
from fruits.comparison.runs import Run
from fruits.features import store
from fruits.features.engines import TOLERANCE
from fruits.manifest import show_test
from fruits.moments import Matrix
from fruits.pca import format_share
from fruits.results import SHARE_TOLERANCE, read_scores
from fruits.results import to_matrix as to_scores

# The neighbours of an image that are compared.
COUNT = 10
# So many images are asked for their neighbours, which are looked for among all.
QUERIES = 16384
# Images whose distances to all others are in memory at once: 70 MB beside Fruits-360.
_ROWS = 256
# The share of images that keep their nearest neighbour, at least, if only the engine differs: see QUALITY.md.
KEPT = 0.999
_VERDICTS = {True: "same within noise", False: "differs", None: "not compared"}
_ACCURACY = "accuracy"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was compared, the figure that was found, and a sentence; `same` is None if it could not be compared."""

    what: str
    said: str
    same: bool | None = None
    figure: str = ""

    @property
    def verdict(self) -> str:
        """Whether this is noise, in words."""
        return _VERDICTS[self.same]

    @property
    def brief(self) -> str:
        """The verdict and the figure, for a cell of a table."""
        return UNKNOWN if self.same is None else f"{'same' if self.same else 'differs'} ({self.figure})"


def compare_features(left: Run, right: Run, images: pd.DataFrame) -> Finding:
    """Compare the stored features of common images, value by value."""
    what, widths = "features", [run.find("model", "features") for run in (left, right)]
    if widths[0] != widths[1]:
        return Finding(what=what, said=f"they have {widths[0]} and {widths[1]} values")
    for run, side in ((left, "left"), (right, "right")):
        if images[f"file_{side}"].isna().all():
            return Finding(what=what, said=f"those of {run.name} are not stored here")
    stored = images.dropna(subset=["file_left", "file_right"])
    if all((stored[f"{key}_left"] == stored[f"{key}_right"]).all() for key in ("file", "row")):
        return Finding(what=what, said="both runs read the same stored features", same=True, figure="0")
    gaps = measure_features(stored)
    # As in the tests of the engines: untrained weights give features of any size.
    untrained = left.find("params", "weights") == "random"
    limit = TOLERANCE * (float(gaps["magnitude"].max()) if untrained else 1)
    largest, cosine = float(gaps["largest"].max()), gaps["cosine"]
    return Finding(
        what=what,
        said=f"the largest difference is {largest:#.2g} (noise: up to {limit:.1g}); cosine of the two features of an "
        f"image: {cosine.mean():.6f} on average, {cosine.min():.6f} at least, of {len(gaps):,} images",
        same=largest <= limit,
        figure=f"{largest:#.2g}",
    )


def measure_features(images: pd.DataFrame) -> pd.DataFrame:
    """Return largest (absolute difference), magnitude (largest absolute value) and cosine of each image, float64."""
    parts = []
    for one, other in zip(*(_read_features(images, side) for side in ("left", "right")), strict=True):
        largest, norms = np.abs(one - other).max(axis=1), np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosine = np.divide((one * other).sum(axis=1), norms, out=np.zeros(len(one)), where=norms > 0)
        cosine[largest == 0] = 1
        magnitude = np.maximum(np.abs(one), np.abs(other)).max(axis=1)
        parts.append(pd.DataFrame({"largest": largest, "magnitude": magnitude, "cosine": cosine}))
    return pd.concat(parts, ignore_index=True)


def _read_features(images: pd.DataFrame, side: str) -> Iterator[Matrix]:
    names = {f"{key}_{side}": key for key in ("label", "split", "file", "row")}
    blocks = store.cut_blocks(images[["path", *names]].rename(columns=names).astype({"row": "int64"}))
    for batch in store.read_blocks(blocks, ("features",)):
        yield to_matrix(batch.column(0)).astype(np.float64)


def compare_variances(left: Run, right: Run) -> Finding:
    """Compare the shares of the components that both runs kept."""
    one, other = left.variance, right.variance
    if one is None or other is None:
        return Finding(what="variances", said="; ".join(filter(None, (left.note, right.note))))
    count = min(len(one), len(other))
    gaps = np.abs(one[:count] - other[:count])
    place = int(gaps.argmax())
    return Finding(
        what="variances",
        said=f"the shares of {count:,} components differ by at most {gaps.max():#.2g}, at component {place + 1}: "
        f"{100 * one[place]:.2f}% and {100 * other[place]:.2f}% (noise: up to {SHARE_TOLERANCE:.0e})",
        same=bool(gaps.max() <= SHARE_TOLERANCE),
        figure=f"{gaps.max():#.2g}",
    )


def compare_accuracies(left: Run, right: Run) -> list[Finding]:
    """Compare the nearest neighbour's accuracy in each test of both runs: each in the other's interval is noise."""
    table = list_accuracies([left, right])
    found = []
    for test, rows in table[table["k"] == choose_k(table)].groupby("test", sort=False):
        if len(rows) == 2:
            found.append(_compare_accuracy(f"{_ACCURACY}, {show_test(str(test))}", *rows.itertuples()))
    return found or [Finding(what=_ACCURACY, said="the manifests have no test in common")]


def _compare_accuracy(what: str, one: Any, other: Any) -> Finding:
    if math.isnan(one.low) or math.isnan(other.low):
        return Finding(what=what, said="a manifest has no intervals")
    if one.tested != other.tested:
        return Finding(what=what, said=f"tested on {one.tested:,.0f} and on {other.tested:,.0f} images")
    same = one.low <= other.accuracy <= one.high and other.low <= one.accuracy <= other.high
    shown = [f"{100 * row.accuracy:.1f}% [{100 * row.low:.1f}, {100 * row.high:.1f}]" for row in (one, other)]
    where = "each lies in the interval of the other" if same else "at least one lies outside the interval of the other"
    gap = 100 * (other.accuracy - one.accuracy)
    return Finding(
        what=what, said=f"{shown[0]} and {shown[1]} with k = {one.k}: {where}", same=same, figure=f"{gap:+.1f}"
    )


def compare_neighbours(left: Run, right: Run, images: pd.DataFrame) -> Finding:
    """Compare which of the common images are nearest to each by the saved scores; of very many images to some."""
    count = min(COUNT, len(images) - 1)
    if count < 1:
        return Finding(what="neighbours", said="there is one common image only")
    if left.results is None or right.results is None:
        return Finding(what="neighbours", said="; ".join(filter(None, (left.note, right.note))))
    paths = images["path"].tolist()
    one, other = (find_nearest(folder, paths, count=count) for folder in (left.results, right.results))
    first = float((one[:, 0] == other[:, 0]).mean())
    kept = float((one[:, :, None] == other[:, None, :]).any(axis=2).mean())
    return Finding(
        what="neighbours",
        said=f"{format_share(first)} of {len(one):,} images keep their nearest neighbour (noise: from "
        f"{format_share(KEPT)}); of the {count} nearest {format_share(kept)} are the same",
        same=first >= KEPT,
        figure=format_share(first),
    )


def find_nearest(results: Path, paths: Sequence[str], *, count: int) -> npt.NDArray[np.int64]:
    """Find among some images those nearest to each, by the scores of a run's results: places in `paths`, (n, count).

    The nearest comes first. More than `QUERIES` images are thinned out evenly.
    """
    scores = read_scores(results)
    rows = {path: row for row, path in enumerate(scores["path"].to_pylist())}
    known = to_scores(scores)[[rows[path] for path in paths]]
    asked = np.arange(0, len(known), math.ceil(len(known) / QUERIES))
    halves = np.einsum("ij,ij->i", known, known) / 2
    found = []
    for part in np.array_split(asked, math.ceil(len(asked) / _ROWS)):
        # Half of the squared distance, less what is the same for all neighbours of an image.
        gaps = halves - known[part] @ known.T
        gaps[np.arange(len(part)), part] = np.inf
        near = np.argpartition(gaps, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(gaps, near, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(found)
