"""The store of features: batches that appear whole; what is there, what is missing.

`<output_dir>/features/<model_id>/batch-*/` is shared by all modes. A batch counts once Spark's committer has left
its `_SUCCESS`; an image is known by path, length and time of modification.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fruits.features.stored import StoredFeatures, explain_damage, locate_images
from fruits.spelling import to_uri
from fruits.storage import open_input, remove_checksums, remove_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["path", "length", "modified"]


def list_batches(store: Path) -> list[Path]:
    """Return the complete batches of a store, oldest first."""
    return sorted(marker.parent for marker in store.glob("batch-*/_SUCCESS"))


def list_unfinished(store: Path) -> list[Path]:
    """Return the batches that a run began and did not complete, oldest first."""
    return sorted(batch for batch in store.glob("batch-*") if not (batch / "_SUCCESS").exists())


def find_missing(images: pd.DataFrame, *, store: Path, batches: Sequence[Path] | None = None) -> pd.DataFrame:
    """Return the rows of `images` whose features the store does not hold; of its batches, if some are named."""
    known = _read_keys(list_batches(store) if batches is None else batches)
    return images[~_keys(images).isin(_keys(known))].reset_index(drop=True)


def write_batch(features: "DataFrame", *, store: Path) -> Path:
    """Write features as a new batch, which readers see only when it is complete.

    Returns
    -------
    Path
        Folder of the batch.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    batch = store / f"batch-{stamp}-{uuid.uuid4().hex[:8]}"
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
        The wanted rows, with path, length and modified.
    """
    known = _read_keys(list_batches(store)).drop_duplicates(KEY, keep="last")
    wanted = known[_keys(known).isin(_keys(images))]
    return StoredFeatures(sparkSession=spark, blocks=locate_images(wanted))


def _read_keys(batches: Sequence[Path]) -> pd.DataFrame:
    """Return path, length, modified, file (str) and row (int64) of everything in some batches."""
    files = [str(file) for batch in batches for file in sorted(batch.glob("*.parquet"))]
    tables = [_read_file(file) for file in files]
    tables = [table.assign(file=file, row=np.arange(len(table))) for file, table in zip(files, tables, strict=True)]
    nothing = pd.DataFrame([], columns=[*KEY, "file", "row"])
    return pd.concat(tables or [nothing], ignore_index=True).astype({"length": "int64", "modified": "int64"})


def _read_file(file: str) -> pd.DataFrame:
    with explain_damage(file):
        return pq.read_table(open_input(file), columns=KEY, page_checksum_verification=True).to_pandas()


def _keys(images: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(images[KEY])
