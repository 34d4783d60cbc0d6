"""The store of features: batches that appear whole; what is there, what is missing.

`<output_dir>/features/<model_id>/batch-*/` is shared by all modes. A batch counts once Spark's committer has left
its `_SUCCESS`; an image is known by path, length and time of modification.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from fruits import storage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["path", "length", "modified"]
_KEY_SCHEMA = "path string, length bigint, modified bigint"


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


def read_features(spark: "SparkSession", images: pd.DataFrame, *, store: Path) -> "DataFrame":
    """Read the features of some images from the store.

    Parameters
    ----------
    images
        The wanted rows, with path, length and modified.

    Returns
    -------
    DataFrame
        path, label, split (string), features (array<float> of 1280); a row for each wanted image in the store.
    """
    from pyspark.sql.functions import broadcast

    from fruits.features.extract import SCHEMA

    batches = [storage.escape_glob(batch) for batch in list_batches(store)]
    stored = spark.read.schema(SCHEMA).parquet(*batches) if batches else spark.createDataFrame([], SCHEMA)
    features = stored.join(broadcast(spark.createDataFrame(images[KEY], _KEY_SCHEMA)), KEY, "left_semi")
    # Two runs at once may both have computed an image; a shuffle of all features is only paid for then.
    if _read_keys(store).duplicated().any():
        features = features.dropDuplicates(KEY)
    return features.select("path", "label", "split", "features")


def _read_keys(store: Path) -> pd.DataFrame:
    files = [str(file) for batch in list_batches(store) for file in batch.glob("*.parquet")]
    if not files:
        return pd.DataFrame(
            {"path": pd.Series(dtype=str), "length": pd.Series(dtype="int64"), "modified": pd.Series(dtype="int64")}
        )
    table: pa.Table = ds.dataset(files).to_table(columns=KEY)
    return table.to_pandas()


def _keys(images: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(images[KEY])
