"""The store of features: what is there, what is missing, and reading it.

An image is known by its digest, the hash of its content, or by its tag in S3. Batches of earlier versions, which have
neither, are passed over. Workers import this module for `StoredFeatures`, so pandas is imported in the functions of
the driver.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.arrow import MapBatches, to_column, to_strings
from fruits.errors import FruitsError
from fruits.features.batches import list_batches
from fruits.folders import open_parquet
from fruits.images.rows import EARLIER_KEY, KEY, NAMES, spark_schema

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


def find_missing(images: "pd.DataFrame", *, store: Path, batches: Sequence[Path] | None = None) -> "pd.DataFrame":
    """Return the rows of `images` whose features the store does not hold; of its batches, if some are named."""
    known = _locate(read_keys(list_batches(store) if batches is None else batches))
    return images[~images["digest"].isin(known["digest"])].reset_index(drop=True)


def list_known(store: Path) -> "pd.DataFrame":
    """Return length and tag of the images whose features the store holds: one of another length is none of them."""
    known = read_keys(list_batches(store))
    return known.loc[known["digest"] != "", ["length", "etag"]]


def find_earlier(images: "pd.DataFrame", *, store: Path) -> "pd.DataFrame":
    """Return the rows of `images` that an earlier version, which knew them by path and time, stored features of."""
    known = read_keys(list_batches(store))
    return images.merge(known.loc[known["digest"] == "", list(EARLIER_KEY)].drop_duplicates())


def name_digests(images: "pd.DataFrame", *, batches: Sequence[Path]) -> "pd.DataFrame":
    """Give the images without a digest the one under which some batches hold their features, by their paths."""
    known = read_keys(batches)
    found = dict(zip(known["path"], known["digest"], strict=True))
    digests = [digest or found.get(path, "") for path, digest in zip(images["path"], images["digest"], strict=True)]
    return images.assign(digest=digests)


def read_features(spark: "SparkSession", images: "pd.DataFrame", *, store: Path) -> "StoredFeatures":
    """Find the features of some images by their digests; of an image that two runs computed, the newer."""
    wanted = images.merge(_locate(read_keys(list_batches(store))), on="digest")
    return StoredFeatures(sparkSession=spark, blocks=cut_blocks(wanted))


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Path, label, split and features of some images, with `select`, `mapInArrow` and `mapPartitions`.

    A DataFrame of the same files would take every float through the JVM before a worker saw it. Here Spark carries the
    names of the images and the numbers of the rows, and workers read the features from the files, which may know the
    images by other names. They come in blocks of `BLOCK` images in the order of their paths, wherever they are stored:
    sums over them are the same to the last bit, whichever runs filled the store.
    """

    sparkSession: "SparkSession"  # noqa: N815 - the name it has on a DataFrame
    blocks: Sequence[Block]
    columns: tuple[str, ...] = COLUMNS

    def __len__(self) -> int:
        return sum(len(rows) for *_, rows in self.blocks)

    def select(self, *columns: str) -> "StoredFeatures":
        """Keep some of the columns; the others are not read."""
        return replace(self, columns=columns)

    def mapInArrow(self, function: MapBatches, schema: str) -> "DataFrame":  # noqa: N802 - as on a DataFrame
        """Apply a function to the batches of each task; `schema` is of what it yields."""
        columns = self.columns

        def read_and_map(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            blocks = (tuple(block.values()) for batch in batches for block in batch.to_pylist())
            return function(read_blocks(blocks, columns))

        # Rows of plain Python values: a pandas table with lists needs a session with Arrow switched on.
        rows = self.sparkSession.createDataFrame(self.blocks, _BLOCKS, verifySchema=False)
        return rows.mapInArrow(read_and_map, schema)

    def mapPartitions(self, function: Callable[[Iterable[pa.RecordBatch]], Iterator[T]]) -> "RDD[T]":  # noqa: N802
        """Apply a function to the batches of each task and return what it yields, as an RDD."""
        columns = self.columns
        context = self.sparkSession.sparkContext
        tasks = max(1, min(context.defaultParallelism, len(self.blocks)))
        blocks = context.parallelize(self.blocks, tasks)
        return blocks.mapPartitions(lambda blocks: function(read_blocks(blocks, columns)))

    def to_dataframe(self) -> "DataFrame":
        """Return the rows as a DataFrame: path, label, split (string), features (array<float>), as selected."""
        return self.mapInArrow(iter, spark_schema(self.columns)).select(*self.columns)


def cut_blocks(images: "pd.DataFrame") -> list[Block]:
    """Cut stored images (path, label, split, file, row) into the blocks that `StoredFeatures` takes."""
    import pandas as pd

    ordered = images.sort_values("path", ignore_index=True)
    blocks: list[Block] = []
    for start in range(0, len(ordered), BLOCK):
        block = ordered[start : start + BLOCK]
        codes, files = pd.factorize(block["file"])
        path, label, split = (block[name].tolist() for name in NAMES)
        blocks.append((path, label, split, list(files), codes.tolist(), block["row"].tolist()))
    return blocks


@contextmanager
def open_features(file: str) -> Iterator[pq.ParquetFile]:
    """Open a file of features, to be read in the block; what cannot be read is named with the folder to remove."""
    # Each page has a checksum: without it a flipped bit is another feature, and nobody knows.
    try:
        with open_parquet(file, page_checksum_verification=True) as source:
            yield source
    except pa.ArrowMemoryError:  # no fault of the file
        raise
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        batch = file.rpartition("/")[0]
        raise FruitsError(
            f"{file} cannot be read ({said}); remove the folder {batch}: the next run computes it anew."
        ) from error


def read_blocks(blocks: Iterable[Block], columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read blocks of stored features, one batch each."""
    for *texts, files, file, row in blocks:
        found = {name: to_strings(text) for name, text in zip(NAMES, texts, strict=True) if name in columns}
        if "features" in columns:
            found["features"] = _read_features(files, np.array(file, np.int32), np.array(row, np.int64))
        yield pa.RecordBatch.from_arrays([found[name] for name in columns], list(columns))


def _read_features(names: Sequence[str], file: npt.NDArray[np.int32], row: npt.NDArray[np.int64]) -> pa.Array:
    # By file, and within it by row: the order in which they can be read in one pass.
    order = np.lexsort((row, file))
    pieces = [piece for number, name in enumerate(names) for piece in _read_rows(name, np.sort(row[file == number]))]
    found = pa.concat_arrays(pieces)
    in_order = bool((np.diff(order) > 0).all())  # as a rule: to take rows copies them all
    return found if in_order else found.take(to_column(np.argsort(order)))


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


def _locate(known: "pd.DataFrame") -> "pd.DataFrame":
    """Return digest, file and row of the features of each image, once under its hash and once under its tag, if any."""
    import pandas as pd

    tagged = known.assign(digest=known["etag"])
    both = pd.concat([known, tagged])[["digest", "file", "row"]]
    return both[both["digest"] != ""].drop_duplicates("digest", keep="last")


def read_keys(batches: Sequence[Path]) -> "pd.DataFrame":
    """Return path, length, modified, digest, etag, file (str) and row (int64) of everything in some batches."""
    import pandas as pd

    files = [str(file) for batch in batches for file in sorted(batch.glob("*.parquet"))]
    tables = [_read_file(file).to_pandas() for file in files]
    tables = [table.assign(file=file, row=np.arange(len(table))) for file, table in zip(files, tables, strict=True)]
    nothing = pd.DataFrame([], columns=[*KEY, "file", "row"])
    return pd.concat(tables or [nothing], ignore_index=True).astype({"length": "int64", "modified": "int64"})


# A complete batch never changes, and a run looks several times what is there.
@functools.lru_cache(maxsize=1024)
def _read_file(file: str) -> pa.Table:
    """Read the keys of a file; those that earlier versions did not write are empty."""
    with open_features(file) as source:
        table = source.read(KEY)
    for name in KEY[table.num_columns :]:
        table = table.append_column(name, pa.array([""] * len(table)))
    return table
