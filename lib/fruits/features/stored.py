"""Stored features of some images, read by the workers straight from their Parquet files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.arrow import to_column
from fruits.errors import FruitsError
from fruits.storage import is_remote, open_input

if TYPE_CHECKING:
    import pandas as pd
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = {"path": "string", "label": "string", "split": "string", "features": "array<float>"}
# Images a block: 10 MB of features, 20 MB as float64.
BLOCK = 2048

_BLOCKS = "files array<string>, file array<int>, row array<bigint>"

# The files of a block, and for each image the index of its file and its row there.
Block = tuple[Sequence[str], Sequence[int], Sequence[int]]
T = TypeVar("T")
MapBatches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Path, label, split and features of some images, with `select`, `mapInArrow` and `mapPartitions`.

    A DataFrame of the same files would take every float through the JVM, into rows and out of them again, before a
    worker saw it. Here Spark carries the numbers of the rows, and workers read them. They come in blocks of `BLOCK`
    images in the order of their paths, wherever they are stored: sums over them are the same to the last bit,
    whichever runs filled the store.

    Attributes
    ----------
    blocks : DataFrame
        One row a block: `files` (list of str), `file` (array of int32, index into files) and `row` (array of int64)
        of each image.
    """

    sparkSession: "SparkSession"  # noqa: N815 - the name it has on a DataFrame
    blocks: "pd.DataFrame"
    columns: tuple[str, ...] = tuple(COLUMNS)

    def __len__(self) -> int:
        return int(self.blocks["row"].map(len).sum())

    def select(self, *columns: str) -> "StoredFeatures":
        """Keep some of the columns; the others are not read."""
        return replace(self, columns=columns)

    def mapInArrow(self, function: MapBatches, schema: str) -> "DataFrame":  # noqa: N802 - as on a DataFrame
        """Apply a function to the batches of each task; `schema` is of what it yields."""
        columns = self.columns
        if self.blocks.empty:
            return self.sparkSession.createDataFrame([], schema)

        def read_and_map(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            blocks = (tuple(block.values()) for batch in batches for block in batch.to_pylist())
            return function(_read_blocks(blocks, columns))

        return self.sparkSession.createDataFrame(self.blocks, _BLOCKS).mapInArrow(read_and_map, schema)

    def mapPartitions(self, function: Callable[[Iterable[pa.RecordBatch]], Iterator[T]]) -> "RDD[T]":  # noqa: N802
        """Apply a function to the batches of each task and return what it yields, as an RDD."""
        columns = self.columns
        context = self.sparkSession.sparkContext
        tasks = max(1, min(context.defaultParallelism, len(self.blocks)))
        blocks = context.parallelize(list(self.blocks.itertuples(index=False, name=None)), tasks)
        return blocks.mapPartitions(lambda blocks: function(_read_blocks(blocks, columns)))

    def to_dataframe(self) -> "DataFrame":
        """Return the rows as a DataFrame: path, label, split (string), features (array<float> of 1280), as selected."""
        schema = ", ".join(f"{name} {COLUMNS[name]}" for name in self.columns)
        return self.mapInArrow(iter, schema).select(*self.columns)


@contextmanager
def explain_damage(file: str) -> Iterator[None]:
    """Turn what reading a file of features raises into a sentence.

    Raises
    ------
    FruitsError
        Naming the file and the folder to remove.
    """
    try:
        yield
    except pa.ArrowMemoryError:  # no fault of the file
        raise
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        batch = file.rpartition("/")[0]
        raise FruitsError(
            f"{file} cannot be read ({said}); remove the folder {batch}: the next run computes it anew."
        ) from error


def locate_images(images: "pd.DataFrame") -> "pd.DataFrame":
    """Cut stored images (path, file, row) into the blocks that `StoredFeatures` takes."""
    import pandas as pd

    ordered = images.sort_values("path", ignore_index=True)
    blocks = []
    for start in range(0, len(ordered), BLOCK):
        block = ordered[start : start + BLOCK]
        codes, files = pd.factorize(block["file"])
        blocks.append((list(files), codes.astype(np.int32), block["row"].to_numpy(np.int64)))
    return pd.DataFrame(blocks, columns=["files", "file", "row"])


def _read_blocks(blocks: Iterable[Block], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    for names, files, numbers in blocks:
        file, row = np.array(files, np.int32), np.array(numbers, np.int64)
        # By file, and within it by row: the order in which they can be read in one pass.
        order = np.lexsort((row, file))
        pieces = [
            piece
            for number, name in enumerate(names)
            for piece in _read_rows(name, np.sort(row[file == number]), columns)
        ]
        rows = pa.Table.from_batches(pieces).take(to_column(np.argsort(order)))
        yield from rows.combine_chunks().to_batches()


def _read_rows(file: str, rows: npt.NDArray[np.int64], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield the given rows of a file; `rows` ascend."""
    start = 0
    # Spark writes a checksum with every page: without it a flipped bit is another feature, and nobody knows.
    options = {"page_checksum_verification": True, "pre_buffer": is_remote(file)}
    with explain_damage(file), pq.ParquetFile(open_input(file), **options) as source:
        for batch in source.iter_batches(BLOCK, columns=list(columns), use_threads=False):
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            if last - first == batch.num_rows:
                yield batch.select(list(columns))
            elif last > first:
                yield batch.take(to_column(rows[first:last] - start)).select(list(columns))
            start += batch.num_rows
            if last == len(rows):
                return
