"""Count, mean and scatter matrix of rows that lie on many workers, always summed in the same order."""

import math
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.arrow import to_binary, to_column, to_matrix
from fruits.errors import FruitsError

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import DataFrame

    from fruits.features.store import StoredFeatures

Matrix = npt.NDArray[np.float64]
# Partial sums (13 MB each by default) that one worker, or the driver, adds up.
_FAN_IN = 8


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and scatter matrix (d, d) = sum of (x - mean)(x - mean)^T of some rows, float64."""

    count: int
    mean: Matrix
    scatter: Matrix

    # Sums over values that are not finite are not finite either: `pca` refuses them.
    @classmethod
    @np.errstate(invalid="ignore")
    def of(cls, rows: Matrix) -> "Moments":
        """Compute the moments of rows of shape (n, d)."""
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    @np.errstate(invalid="ignore")
    def __add__(self, other: "Moments") -> "Moments":
        """Merge by the pairwise formula of Chan, Golub and LeVeque (1979): no cancellation of large means."""
        check_length(len(other.mean), len(self.mean))
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)


class _Sum(Protocol):
    def __add__(self, other: Any) -> Any: ...


T = TypeVar("T", bound=_Sum)


def sum_moments(features: "DataFrame | StoredFeatures") -> Moments | None:
    """Sum the moments of the column `features`: in each task, then in a tree of tasks; None if there are no rows.

    The order depends on the rows and the number of tasks alone: the sums are the same to the last bit.
    """
    from pyspark.sql import DataFrame

    if isinstance(features, DataFrame):
        pickled = features.select("features").mapInArrow(_sum_and_pickle, "task int, moments binary")
        partials = pickled.rdd.map(lambda row: (row.task, pickle.loads(row.moments)))  # noqa: S301 - written by us
    else:  # no SQL: a session's first query costs two seconds of planning
        partials = features.select("features").mapPartitions(_sum_task)
    return add_up(partials)


def add_up(partials: "RDD[tuple[int, T]]") -> T | None:
    """Add up the sums of tasks, (index of the task, sum), in a tree and always in the same order."""
    while (parts := partials.getNumPartitions()) > _FAN_IN:
        grouped = partials.map(lambda partial: (partial[0] // _FAN_IN, partial))
        partials = grouped.partitionBy(math.ceil(parts / _FAN_IN), int).mapPartitions(_merge_group)
    return _merge(total for _, total in sorted(partials.collect(), key=itemgetter(0)))


def read_features(batch: pa.RecordBatch) -> Matrix:
    """Return the column `features` of a batch as a matrix of shape (n, d), float64; refuse null and unequal lengths."""
    lists = batch.column("features")
    lengths = np.diff(np.from_dlpack(lists.offsets))
    if lists.null_count or lists.flatten().null_count:
        raise FruitsError("column features holds null; remove these rows.")
    for length in set(lengths.tolist()):
        check_length(length, lengths[0])
    return to_matrix(lists).astype(np.float64)


def check_length(length: int, expected: int) -> None:
    """Refuse rows of another length: they are features of another model."""
    if length != expected:
        raise FruitsError(f"features of length {length} do not go with features of length {expected}; use one model.")


def sum_batches(batches: Iterable[pa.RecordBatch], of: Callable[[pa.RecordBatch], T]) -> Iterator[tuple[int, T]]:
    """Yield the index of the task and the sum over its batches, unless it has no rows; see `add_up`."""
    from pyspark import TaskContext

    task = TaskContext.get()
    if total := _merge(of(batch) for batch in batches if batch.num_rows):
        yield task.partitionId() if task else 0, total


def _sum_task(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Moments]]:
    return sum_batches(batches, lambda batch: Moments.of(read_features(batch)))


def _sum_and_pickle(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for task, moments in _sum_task(batches):
        columns = [to_column(np.array([task], np.int32)), to_binary(pickle.dumps(moments))]
        yield pa.RecordBatch.from_arrays(columns, ["task", "moments"])


def _merge_group(group: Iterable[tuple[int, tuple[int, T]]]) -> Iterator[tuple[int, T]]:
    # In the order of the tasks, not of their arrival.
    partials = sorted((partial for _, partial in group), key=itemgetter(0))
    if total := _merge(total for _, total in partials):
        yield partials[0][0], total


def _merge(sums: Iterable[T]) -> T | None:
    total: T | None = None
    for part in sums:
        total = total + part if total else part
    return total
