"""Stored features of some images, read by the workers straight from their Parquet files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.arrow import to_column, to_strings
from fruits.errors import FruitsError
from fruits.folders import is_remote, open_input
from fruits.images.rows import NAMES, spark_schema

if TYPE_CHECKING:
    import pandas as pd
    from pyspark import RDD
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = (*NAMES, "features")
# Images a block: 10 MB of features, 20 MB as float64.
BLOCK = 2048

_BLOCKS = (
    "path array<string>, label array<string>, split array<string>, files array<string>, file array<int>, "
    "row array<bigint>"
)

# Path, label and split of each image, the files of a block, and for each image the index of its file and its row there.
Block = tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str], Sequence[int], Sequence[int]]
T = TypeVar("T")
MapBatches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Path, label, split and features of some images, with `select`, `mapInArrow` and `mapPartitions`.

    A DataFrame of the same files would take every float through the JVM, into rows and out of them again, before a
    worker saw it. Here Spark carries the names of the images and the numbers of the rows, and workers read the
    features there, which may be stored under other names. They come in blocks of `BLOCK` images in the order of their
    paths, wherever they are stored: sums over them are the same to the last bit, whichever runs filled the store.

    Attributes
    ----------
    blocks : DataFrame
        One row a block: `path`, `label`, `split` (lists of str) of each image, `files` (list of str), `file` (array
        of int32, index into files) and `row` (array of int64) of each image.
    """

    sparkSession: "SparkSession"  # noqa: N815 - the name it has on a DataFrame
    blocks: "pd.DataFrame"
    columns: tuple[str, ...] = COLUMNS

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
        return self.mapInArrow(iter, spark_schema(self.columns)).select(*self.columns)


@contextmanager
def open_features(file: str) -> Iterator[pq.ParquetFile]:
    """Open a file of features, to be read in the block.

    Raises
    ------
    FruitsError
        If it cannot be read, naming the file and the folder to remove.
    """
    # Spark writes a checksum with every page: without it a flipped bit is another feature, and nobody knows.
    options = {"page_checksum_verification": True, "pre_buffer": is_remote(file)}
    try:
        with pq.ParquetFile(open_input(file), **options) as source:
            yield source
    except pa.ArrowMemoryError:  # no fault of the file
        raise
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        batch = file.rpartition("/")[0]
        raise FruitsError(
            f"{file} cannot be read ({said}); remove the folder {batch}: the next run computes it anew."
        ) from error


def locate_images(images: "pd.DataFrame") -> "pd.DataFrame":
    """Cut stored images (path, label, split, file, row) into the blocks that `StoredFeatures` takes."""
    import pandas as pd

    ordered = images.sort_values("path", ignore_index=True)
    blocks = []
    for start in range(0, len(ordered), BLOCK):
        block = ordered[start : start + BLOCK]
        codes, files = pd.factorize(block["file"])
        names = (block[name].tolist() for name in NAMES)
        blocks.append((*names, list(files), codes.astype(np.int32), block["row"].to_numpy(np.int64)))
    return pd.DataFrame(blocks, columns=[*NAMES, "files", "file", "row"])


def _read_blocks(blocks: Iterable[Block], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    for *texts, files, file, row in blocks:
        found = {name: to_strings(text) for name, text in zip(NAMES, texts, strict=True) if name in columns}
        if "features" in columns:
            found["features"] = _read_features(files, np.array(file, np.int32), np.array(row, np.int64))
        yield pa.RecordBatch.from_arrays([found[name] for name in columns], list(columns))


def _read_features(names: Sequence[str], file: npt.NDArray[np.int32], row: npt.NDArray[np.int64]) -> pa.Array:
    # By file, and within it by row: the order in which they can be read in one pass.
    order = np.lexsort((row, file))
    pieces = [piece for number, name in enumerate(names) for piece in _read_rows(name, np.sort(row[file == number]))]
    return pa.concat_arrays(pieces).take(to_column(np.argsort(order)))


def _read_rows(file: str, rows: npt.NDArray[np.int64]) -> Iterator[pa.Array]:
    """Yield the features in the given rows of a file; `rows` ascend."""
    start = 0
    with open_features(file) as source:
        for batch in source.iter_batches(BLOCK, columns=["features"], use_threads=False):
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            if last - first == batch.num_rows:
                yield batch.column(0)
            elif last > first:
                yield batch.column(0).take(to_column(rows[first:last] - start))
            start += batch.num_rows
            if last == len(rows):
                return
