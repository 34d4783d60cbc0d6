"""A linear classifier in closed form: discriminant analysis (LDA) with a shrunk covariance, from sums over the images.

The sums of a fold are enough to fit it and to rotate it into principal components. So the workers read the features
once for the sums and once to choose the shrinkage, and the driver holds d x d numbers for each fold. See Hastie,
Tibshirani and Friedman, The Elements of Statistical Learning, 2nd edition, section 4.3. Parameters and results are
those of scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...)`. Ridge regression on indicators of
the classes, from the same sums, is far worse with few components (documentation/QUALITY.md).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.arrow import to_matrix
from fruits.moments import Matrix, add_up, sum_batches

if TYPE_CHECKING:
    from fruits.features.store import StoredFeatures

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
# Shares of the covariance that are replaced by a multiple of the identity.
SHRINKAGES = (0.01, 0.1, 0.5, 0.9)
# Trials run at the same time, but the sums of one task are 58 MB, and the driver receives up to eight at once.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Basis:
    """The coordinates of a PCA: (x - mean) V, for V of shape (d, r); float32."""

    mean: Floats
    vectors: Floats

    @classmethod
    def of(cls, mean: Matrix, components: Matrix) -> "Basis":
        """Take the mean (d,) and components (r, d) of a PCA."""
        return cls(mean.astype(np.float32), np.ascontiguousarray(components.T, np.float32))

    def project(self, batch: pa.RecordBatch) -> Floats:
        """Return the coordinates (n, r) of a batch with the column `features`."""
        return (to_matrix(batch.column("features")).astype(np.float32, copy=False) - self.mean) @ self.vectors


@dataclass(frozen=True)
class ClassSums:
    """Sums over centred images: counts (c,) and sums (c, d) of the classes, products (d, d); float64."""

    counts: Matrix
    sums: Matrix
    products: Matrix

    def __add__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.counts + other.counts, self.sums + other.sums, self.products + other.products)

    def __sub__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.counts - other.counts, self.sums - other.sums, self.products - other.products)

    @property
    def count(self) -> float:
        """The number of images."""
        return float(self.counts.sum())


@dataclass(frozen=True)
class FoldSums:
    """The sums of each fold."""

    folds: Mapping[str, ClassSums]

    def __add__(self, other: "FoldSums") -> "FoldSums":
        both = {name: self.folds[name] + other.folds[name] for name in self.folds.keys() & other.folds.keys()}
        return FoldSums({**self.folds, **other.folds, **both})


def sum_classes(features: "StoredFeatures", *, classes: Sequence[str], basis: Basis) -> dict[str, ClassSums]:
    """Sum the coordinates of each class and fold on the workers; the column `split` names the fold of an image."""
    shared = features.sparkSession.sparkContext.broadcast((basis, {name: code for code, name in enumerate(classes)}))

    def sum_batch(batch: pa.RecordBatch) -> FoldSums:
        turn, codes = shared.value
        parts = split_folds(batch, basis=turn, codes=codes)
        return FoldSums({fold: _sum_rows(rows.astype(np.float64), labels, len(codes)) for fold, rows, labels in parts})

    labelled = features.select("label", "split", "features")
    with _ONE_AT_A_TIME:
        total = add_up(labelled.mapPartitions(lambda batches: sum_batches(batches, sum_batch)))
    return dict(sorted(total.folds.items())) if total else {}


def split_folds(
    batch: pa.RecordBatch, *, basis: Basis, codes: Mapping[str, int]
) -> Iterator[tuple[str, Floats, npt.NDArray[np.intp]]]:
    """Yield the folds of a batch, which its column `split` names: the name, coordinates, and codes of the labels."""
    rows = basis.project(batch)
    labels = np.array([codes[label] for label in batch.column("label").to_pylist()])
    folds = np.array(batch.column("split").to_pylist())
    for fold in np.unique(folds):
        yield str(fold), rows[folds == fold], labels[folds == fold]


def _sum_rows(rows: Matrix, labels: npt.NDArray[np.intp], classes: int) -> ClassSums:
    order = np.argsort(labels, kind="stable")
    there, starts = np.unique(labels[order], return_index=True)
    sums = np.zeros((classes, rows.shape[1]))
    sums[there] = np.add.reduceat(rows[order], starts)
    return ClassSums(np.bincount(labels, minlength=classes).astype(float), sums, rows.T @ rows)


@dataclass(frozen=True)
class Linear:
    """Scores of the classes: x W + b, for W of shape (k, c) and b of shape (c,), float32."""

    weights: Floats
    bias: Floats

    def predict(self, rows: Floats) -> Integers:
        """Return the classes of rows (n, r), from their first k coordinates, (n,)."""
        return np.asarray((rows[:, : len(self.weights)] @ self.weights + self.bias).argmax(axis=1))


def fit_linear(sums: ClassSums, *, k: int, shrinkage: float) -> Linear:
    """Fit LDA on the first k coordinates; a class without images is never predicted."""
    there = sums.counts > 0
    counts = sums.counts[there, None]
    means = sums.sums[there, :k] / counts
    within = (sums.products[:k, :k] - (means * counts).T @ means) / sums.count
    mean_variance = np.trace(within) / k
    # Images that are all equal within their classes: any positive number serves.
    ridge = shrinkage * mean_variance or 1.0
    weights = np.zeros((k, len(there)))
    weights[:, there] = np.linalg.solve((1 - shrinkage) * within + ridge * np.eye(k), means.T)
    bias = np.full(len(there), -np.inf)
    bias[there] = np.log(counts[:, 0] / sums.count) - (means * weights[:, there].T).sum(axis=1) / 2
    return Linear(weights.astype(np.float32), bias.astype(np.float32))


def fit_folds(folds: Mapping[str, ClassSums], *, k: int) -> dict[str, list[Linear]]:
    """Fit, for each fold and each of `SHRINKAGES`, a classifier on the images of the other folds."""
    total = reduce(add, folds.values())
    rest = {name: total - fold for name, fold in folds.items()}
    return {name: [fit_linear(part, k=k, shrinkage=share) for share in SHRINKAGES] for name, part in rest.items()}
