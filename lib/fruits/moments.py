"""Count, mean and scatter matrix of rows that lie on many workers, summed the same way every time."""

import math
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.arrow import to_binary, to_column, to_matrix

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import DataFrame

    from fruits.features.store import StoredFeatures

Matrix = npt.NDArray[np.float64]
# Partial sums (13 MB each in 1280 dimensions) that one worker, or the driver, adds up.
_FAN_IN = 8


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and scatter matrix (d, d) = sum of (x - mean)(x - mean)^T of some rows, float64."""

    count: int
    mean: Matrix
    scatter: Matrix

    # Of what is not finite, the sums are not either, and `pca` says so in a sentence.
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
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)


# The sum of a task, and the place of the task among the others.
_Partial = tuple[int, Moments]


def sum_moments(features: "DataFrame | StoredFeatures", *, column: str) -> Moments | None:
    """Sum up the moments of a column of lists: in each task, then in a tree of tasks; None if there are no rows.

    The order of the sum depends on the rows and the number of tasks alone, so the last bit does too.
    """
    partials = _sum_tasks(features, column=column)
    while (parts := partials.getNumPartitions()) > _FAN_IN:
        grouped = partials.map(_name_group).partitionBy(math.ceil(parts / _FAN_IN), int)
        partials = grouped.mapPartitions(_merge_group)
    return _merge(moments for _, moments in sorted(partials.collect(), key=itemgetter(0)))


def _sum_tasks(features: "DataFrame | StoredFeatures", *, column: str) -> "RDD[_Partial]":
    from pyspark.sql import DataFrame

    if isinstance(features, DataFrame):
        pickled = features.select(column).mapInArrow(_sum_and_pickle, "place bigint, moments binary")
        return pickled.rdd.map(lambda row: (row.place, pickle.loads(row.moments)))  # noqa: S301 - written by us
    # No SQL: a session's first query costs it two seconds of planning.
    return features.select(column).mapPartitions(_sum_task)


def _sum_task(batches: Iterable[pa.RecordBatch]) -> Iterator[_Partial]:
    from pyspark import TaskContext

    task = TaskContext.get()
    rows = (to_matrix(batch.column(0)).astype(np.float64) for batch in batches if batch.num_rows)
    if moments := _merge(Moments.of(matrix) for matrix in rows):
        yield task.partitionId() if task else 0, moments


def _sum_and_pickle(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for place, moments in _sum_task(batches):
        columns = [to_column(np.array([place])), to_binary(pickle.dumps(moments))]
        yield pa.RecordBatch.from_arrays(columns, ["place", "moments"])


def _name_group(partial: _Partial) -> tuple[int, _Partial]:
    return partial[0] // _FAN_IN, partial


def _merge_group(group: Iterable[tuple[int, _Partial]]) -> Iterator[_Partial]:
    # In the order of the tasks, whatever the order of their arrival: the same sums to the last bit.
    named = sorted(group, key=lambda row: row[1][0])
    if moments := _merge(moments for _, (_, moments) in named):
        yield named[0][0], moments


def _merge(moments: Iterable[Moments]) -> Moments | None:
    total: Moments | None = None
    for part in moments:
        total = total + part if total else part
    return total
