"""Stored features of some images, read by the workers straight from their Parquet files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.arrow import to_column

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = {"path": "string", "label": "string", "split": "string", "features": "array<float>"}
# Rows read at once: 10 MB of features.
_ROWS = 2048

MapBatches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Path, label, split and features of some images; `select` and `mapInArrow` as a DataFrame has them.

    A DataFrame of the same files would take every float through the JVM, into rows and out of them again, before a
    worker saw it. Here Spark carries the names of the files and the numbers of the rows, and workers read them.

    Attributes
    ----------
    parts : DataFrame
        `file` (str), `rows` (bytes: the wanted rows of the file, ascending int64).
    """

    sparkSession: "SparkSession"  # noqa: N815 - the name it has on a DataFrame
    parts: "pd.DataFrame"
    columns: tuple[str, ...] = tuple(COLUMNS)

    def __len__(self) -> int:
        return int(self.parts["rows"].map(len).sum()) // np.dtype(np.int64).itemsize

    def select(self, *columns: str) -> "StoredFeatures":
        """Keep some of the columns; the others are not read."""
        return replace(self, columns=columns)

    def mapInArrow(self, function: MapBatches, schema: str) -> "DataFrame":  # noqa: N802 - as on a DataFrame
        """Apply a function to the batches of each task; `schema` is of what it yields."""
        columns = self.columns
        if self.parts.empty:
            return self.sparkSession.createDataFrame([], schema)

        def read_and_map(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return function(_read_parts(batches, columns))

        return self.sparkSession.createDataFrame(self.parts).mapInArrow(read_and_map, schema)

    def to_dataframe(self) -> "DataFrame":
        """Return the rows as a DataFrame: path, label, split (string), features (array<float> of 1280), as selected."""
        schema = ", ".join(f"{name} {COLUMNS[name]}" for name in self.columns)
        return self.mapInArrow(iter, schema).select(*self.columns)


def _read_parts(parts: Iterable[pa.RecordBatch], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    for batch in parts:
        for part in batch.to_pylist():
            yield from _read_rows(part["file"], np.frombuffer(part["rows"], np.int64), columns)


def _read_rows(file: str, rows: npt.NDArray[np.int64], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    start = 0
    with pq.ParquetFile(file) as source:
        for batch in source.iter_batches(_ROWS, columns=list(columns), use_threads=False):
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            wanted = batch if last - first == batch.num_rows else batch.take(to_column(rows[first:last] - start))
            start += batch.num_rows
            yield wanted.select(list(columns))
