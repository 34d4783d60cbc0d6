"""The store of features: batches that appear whole; what is there, what is missing.

`<output_dir>/features/<model_id>/batch-*/` is shared by all modes. A batch counts once Spark's committer has left
its `_SUCCESS`; an image is known by path, length and time of modification.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fruits.features.stored import StoredFeatures, locate_images

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["path", "length", "modified"]


def list_batches(store: Path) -> list[Path]:
    """Return the complete batches of a store, oldest first."""
    return sorted(marker.parent for marker in store.glob("batch-*/_SUCCESS"))


def find_missing(images: pd.DataFrame, *, store: Path) -> pd.DataFrame:
    """Return the rows of `images` whose features the store does not hold."""
    known = _read_keys(store)
    return images[~_keys(images).isin(_keys(known))].reset_index(drop=True)


def write_batch(features: "DataFrame", *, store: Path) -> Path:
    """Write features as a new batch, which readers see only when it is complete.

    Returns
    -------
    Path
        Folder of the batch.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    batch = store / f"batch-{stamp}-{uuid.uuid4().hex[:8]}"
    features.write.parquet(str(batch))
    return batch


def read_features(spark: "SparkSession", images: pd.DataFrame, *, store: Path) -> StoredFeatures:
    """Find the features of some images in the store; an image that two runs computed is taken once.

    Parameters
    ----------
    images
        The wanted rows, with path, length and modified.
    """
    known = _read_keys(store).drop_duplicates(KEY)
    wanted = known[_keys(known).isin(_keys(images))]
    return StoredFeatures(sparkSession=spark, blocks=locate_images(wanted))


def _read_keys(store: Path) -> pd.DataFrame:
    """Return path, length, modified, file (str) and row (int64) of everything in the store."""
    files = [str(file) for batch in list_batches(store) for file in sorted(batch.glob("*.parquet"))]
    tables = [pq.read_table(file, columns=KEY).to_pandas() for file in files]
    tables = [table.assign(file=file, row=np.arange(len(table))) for file, table in zip(files, tables, strict=True)]
    nothing = pd.DataFrame([], columns=[*KEY, "file", "row"])
    return pd.concat(tables or [nothing], ignore_index=True).astype({"length": "int64", "modified": "int64"})


def _keys(images: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(images[KEY])
