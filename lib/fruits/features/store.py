"""The store of features: batches that appear whole; what is there, what is missing.

`<output_dir>/features/<model_id>/batch-*/` is shared by all modes. A batch counts once Spark's committer has left
its `_SUCCESS`; an image is known by its digest, the hash of its content, or by its tag in S3. Batches of earlier
versions, which have neither, are passed over.
"""

import functools
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.features.reader import StoredFeatures, locate_images, open_features
from fruits.folders import open_input, remove_checksums, remove_folder
from fruits.images.rows import EARLIER_KEY, KEY
from fruits.spelling import to_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PART = re.compile(r"_temporary/.*|\.?(part[^/]*\.parquet|_SUCCESS)(\.crc)?", re.DOTALL)


def list_batches(store: Path) -> list[Path]:
    """Return the complete batches of a store, oldest first."""
    return sorted(marker.parent for marker in store.glob("batch-*/_SUCCESS"))


def list_unfinished(store: Path) -> list[Path]:
    """Return the batches that a run began and did not complete, oldest first."""
    batches = (batch for batch in store.glob("batch-*") if not (batch / "_SUCCESS").exists())
    return sorted(batch for batch in batches if not _holds_others(batch))


def _holds_others(batch: Path) -> bool:
    """Tell whether a batch holds anything that Spark's committer does not write."""
    names = (entry.relative_to(batch).as_posix() for entry in batch.rglob("*") if not entry.is_dir())
    return not all(_PART.fullmatch(name) for name in names)


def find_missing(images: pd.DataFrame, *, store: Path, batches: Sequence[Path] | None = None) -> pd.DataFrame:
    """Return the rows of `images` whose features the store does not hold; of its batches, if some are named."""
    known = _locate(_read_keys(list_batches(store) if batches is None else batches))
    return images[~images["digest"].isin(known["digest"])].reset_index(drop=True)


def list_lengths(store: Path) -> "pd.Series[int]":
    """Return the lengths of the images whose features the store holds: one of another length is none of them."""
    known = _read_keys(list_batches(store))
    return known.loc[known["digest"] != "", "length"]


def find_earlier(images: pd.DataFrame, *, store: Path) -> pd.DataFrame:
    """Return the rows of `images` that an earlier version, which knew them by path and time, stored features of."""
    known = _read_keys(list_batches(store))
    earlier = pd.MultiIndex.from_frame(known.loc[known["digest"] == "", list(EARLIER_KEY)])
    return images[pd.MultiIndex.from_frame(images[list(EARLIER_KEY)]).isin(earlier)]


def name_digests(images: pd.DataFrame, *, batches: Sequence[Path]) -> pd.DataFrame:
    """Give the images without a digest the one under which some batches hold their features, by their paths."""
    known = _read_keys(batches)
    found = dict(zip(known["path"], known["digest"], strict=True))
    digests = [digest or found.get(path, "") for path, digest in zip(images["path"], images["digest"], strict=True)]
    return images.assign(digest=digests)


def name_batch(when: datetime) -> str:
    """Return how the names of the batches begin that are made at a time, in UTC; names sort by time."""
    return f"batch-{when:%Y%m%dT%H%M%S%f}"


def write_batch(features: "DataFrame", *, store: Path) -> Path:
    """Write features as a new batch, which readers see only when it is complete.

    Returns
    -------
    Path
        Folder of the batch.
    """
    batch = store / f"{name_batch(datetime.now(UTC))}-{uuid.uuid4().hex[:8]}"
    # Asked for here: a cluster's own settings may leave it out.
    marked = features.write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "true")
    marked.parquet(to_uri(batch))
    remove_checksums(batch)
    if not any(pq.read_metadata(open_input(file)).num_rows for file in batch.glob("*.parquet")):
        remove_folder(batch)  # of images that cannot be read: they will be tried again, and leave another
    return batch


def read_features(spark: "SparkSession", images: pd.DataFrame, *, store: Path) -> StoredFeatures:
    """Find the features of some images in the store; of an image that two runs computed, the newer.

    Parameters
    ----------
    images
        The wanted rows, with path, label, split and digest; the store may know the same images by other names.
    """
    wanted = images.merge(_locate(_read_keys(list_batches(store))), on="digest")
    return StoredFeatures(sparkSession=spark, blocks=locate_images(wanted))


def _locate(known: pd.DataFrame) -> pd.DataFrame:
    """Return digest, file and row of the features of each image, once under its hash and once under its tag, if any."""
    tagged = known.assign(digest=known["etag"])
    both = pd.concat([known, tagged])[["digest", "file", "row"]]
    return both[both["digest"] != ""].drop_duplicates("digest", keep="last")


def _read_keys(batches: Sequence[Path]) -> pd.DataFrame:
    """Return path, length, modified, digest, etag, file (str) and row (int64) of everything in some batches."""
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
