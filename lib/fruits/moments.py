"""Count, mean and scatter matrix of rows that lie on many workers, summed the same way every time."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.arrow import to_binary, to_column, to_matrix

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from fruits.features.stored import StoredFeatures

Matrix = npt.NDArray[np.float64]
_MOMENTS = "place bigint, count bigint, mean binary, scatter binary"
# Partial sums (13 MB each in 1280 dimensions) that one worker, or the driver, adds up.
_FAN_IN = 8


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and scatter matrix (d, d) = sum of (x - mean)(x - mean)^T of some rows, float64."""

    count: int
    mean: Matrix
    scatter: Matrix

    @classmethod
    def of(cls, rows: Matrix) -> "Moments":
        """Compute the moments of rows of shape (n, d)."""
        mean = rows.mean(axis=0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def __add__(self, other: "Moments") -> "Moments":
        """Merge by the pairwise formula of Chan, Golub and LeVeque (1979): no cancellation of large means."""
        count = self.count + other.count
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)


def sum_moments(features: "DataFrame | StoredFeatures", *, column: str) -> Moments | None:
    """Sum up the moments of a column of lists: in each task, then in a tree of tasks; None if there are no rows.

    The order of the sum depends on the rows and the number of tasks alone, so the last bit does too.
    """
    partials = features.select(column).mapInArrow(_sum_task, _MOMENTS)
    while (parts := partials.rdd.getNumPartitions()) > _FAN_IN:
        partials = partials.repartition(math.ceil(parts / _FAN_IN)).mapInArrow(_merge_tasks, _MOMENTS)
    table: pd.DataFrame = partials.toPandas()
    return _merge_rows(table.itertuples(index=False, name=None))


def _sum_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    task = TaskContext.get()
    rows = (to_matrix(batch.column(0)).astype(np.float64) for batch in batches if batch.num_rows)
    yield from _write_moments(task.partitionId() if task else 0, _merge(Moments.of(matrix) for matrix in rows))


def _merge_tasks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    yield from _write_moments(min((place for place, *_ in rows), default=0), _merge_rows(rows))


def _merge_rows(rows: Iterable[tuple[int, int, bytes, bytes]]) -> Moments | None:
    # In the order of the tasks, whatever the order of their arrival: the same sums to the last bit.
    return _merge(_read_moments(row) for _, *row in sorted(rows, key=itemgetter(0)))


def _merge(moments: Iterable[Moments]) -> Moments | None:
    total: Moments | None = None
    for part in moments:
        total = total + part if total else part
    return total


def _write_moments(place: int, moments: Moments | None) -> Iterator[pa.RecordBatch]:
    if moments:
        sums = (to_binary(moments.mean.tobytes()), to_binary(moments.scatter.tobytes()))
        numbers = (to_column(np.array([number])) for number in (place, moments.count))
        yield pa.RecordBatch.from_arrays([*numbers, *sums], ["place", "count", "mean", "scatter"])


def _read_moments(row: Sequence[Any]) -> Moments:
    count, mean, scatter = row
    vector = np.frombuffer(mean)
    return Moments(count, vector, np.frombuffer(scatter).reshape(vector.size, vector.size))
