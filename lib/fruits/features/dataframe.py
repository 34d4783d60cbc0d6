"""Features of images on any Spark session, as a DataFrame."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from fruits.errors import FruitsError, UsageError, explain_failures
from fruits.features.engines import broadcast_engine, local_engine
from fruits.features.model import Backbone
from fruits.features.udf import SCHEMA, Extractor, LocalErrors, collect_errors
from fruits.images.paths import ImagePaths, locate
from fruits.images.rows import ALL, LISTED, NAMES, STORED, ErrorRow, arrow_schema, spark_schema
from fruits.images.walk import spell_name
from fruits.workers import prepare_workers

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

_log = logging.getLogger(__name__)
# Images a task: what a worker that dies can lose.
_TASK = 1024


def extract_features(
    images: "pd.DataFrame | DataFrame | Sequence[str | Path]",
    model: Backbone,
    *,
    spark: "SparkSession | None" = None,
    batch_size: int = 16,
    on_error: Literal["warn", "raise", "skip"] = "warn",
    errors: list[ErrorRow] | None = None,
) -> "DataFrame":
    """Compute the features of images on Spark at once, and keep them in Spark's cache.

    Parameters
    ----------
    images
        A pandas or Spark table with a column `path`, or a list of paths, which workers must be able to open; a relative
        one starts at the driver's working directory. Where `label` is missing, it is the name of the folder that holds
        the image; a missing `split` is "all". Other columns are not used.
    spark
        By default the session of the Spark table, or the active one.
    batch_size
        Images a forward pass, at most.
    on_error
        If images cannot be read: `warn` logs a warning that names some, `raise` raises FruitsError, `skip` is silent.
    errors
        A list that gets an ErrorRow (path, stage, reason) for each image that cannot be read.

    Returns
    -------
    DataFrame
        `path` (as it was given), `label`, `split` (string), `features` (array<float>), for each image that can be read.
        `unpersist()` frees it.

    Raises
    ------
    UsageError
        If `images` is empty or no such table, or a path is null.
    """
    spark = _check_arguments(images, model, spark=spark, on_error=on_error)
    rows, lost = _complete_rows(_read_columns(images)), [] if errors is None else errors
    return _extract(rows, model, spark=spark, batch_size=batch_size, on_error=on_error, lost=lost)


def _extract(
    rows: list[tuple[Any, ...]],
    model: Backbone,
    *,
    spark: "SparkSession",
    batch_size: int,
    on_error: str,
    lost: list[ErrorRow],
) -> "DataFrame":
    from pyspark.sql import functions

    context = spark.sparkContext
    prepare_workers(context)
    extractor = _PathExtractor.of(
        model,
        make_predict=broadcast_engine(context, model),
        source=ImagePaths(Path.cwd().as_posix()),
        batch_size=batch_size,
        errors=collect_errors(context),
    )
    tasks = min(len(rows), max(context.defaultParallelism, math.ceil(len(rows) / _TASK)))
    table = spark.createDataFrame(context.parallelize(rows, tasks), spark_schema(LISTED), verifySchema=False)
    named = functions.col("features").alias("features", metadata={"model_id": model.model_id})
    features = table.mapInArrow(extractor.extract, SCHEMA).select(*NAMES, named).persist()
    try:
        with explain_failures("the extraction of the features"):
            count = features.count()
        lost += dict.fromkeys(extractor.errors.value)
        _report(lost, of=len(rows), on_error="raise" if not count and on_error == "warn" else on_error)
    except BaseException:
        features.unpersist()
        raise
    return features


def extract_here(
    images: "pd.DataFrame | Sequence[str | Path]", model: Backbone, *, batch_size: int = 16
) -> tuple[pa.Table, list[ErrorRow]]:
    """Compute features as `extract_features` does, of a few images, in this process and without Spark."""
    rows, lost = _complete_rows(_read_columns(images)), LocalErrors()
    extractor = _PathExtractor.of(
        model,
        make_predict=local_engine(model),
        source=ImagePaths(Path.cwd().as_posix()),
        batch_size=batch_size,
        errors=lost,
    )
    batch = pa.RecordBatch.from_pylist([dict(zip(LISTED, row, strict=True)) for row in rows], arrow_schema(LISTED))
    table = pa.Table.from_batches(extractor.extract([batch]), arrow_schema(STORED))
    return table.select([*NAMES, "features"]), lost.value


def _check_arguments(images: Any, model: object, *, spark: "SparkSession | None", on_error: str) -> "SparkSession":
    from pyspark.sql import SparkSession

    if not isinstance(model, Backbone):
        raise UsageError(f"model is a {type(model).__name__}; give what fruits.load_model returns.")
    if on_error not in ("warn", "raise", "skip"):
        raise UsageError(f"on_error={on_error!r}: allowed: warn, raise, skip.")
    spark = spark or getattr(images, "sparkSession", None) or SparkSession.getActiveSession()
    if spark is None:
        raise UsageError("there is no active Spark session; start one, or give it as spark=...")
    return spark


def _read_columns(images: Any) -> dict[str, list[Any]]:
    """Return the columns path, label and split of a table, as far as they are there."""
    import pandas as pd
    from pyspark.sql import DataFrame

    if isinstance(images, pd.DataFrame | DataFrame):
        names = [name for name in NAMES if name in images.columns]
        if "path" not in names:
            raise UsageError(f"images has no column `path`; it has {', '.join(map(str, images.columns)) or 'none'}.")
        if isinstance(images, pd.DataFrame):
            return {name: images[name].tolist() for name in names}
        if (kind := images.schema["path"].dataType.simpleString()) != "string":
            raise UsageError(f"the column `path` of images has the type {kind}; it must be string.")
        with explain_failures("reading the table of images"):
            rows = images.select(*names).collect()
        return {name: [row[name] for row in rows] for name in names}
    if isinstance(images, str | bytes | dict) or not hasattr(images, "__iter__"):
        raise UsageError(
            f"images is a {type(images).__name__}; give a pandas or Spark table with a column `path`, or a list of "
            "paths; fruits.list_images lists a folder."
        )
    return {"path": list(images)}


def _complete_rows(columns: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    import pandas as pd

    paths = columns["path"]
    if not paths:
        raise UsageError("images is empty; give at least one path.")
    for number, path in enumerate(paths):
        if not isinstance(path, str | Path) or not str(path):
            raise UsageError(f"the path of image {number} (counted from 0) is {path!r}; it must be a text, not empty.")
    labels, splits = (columns.get(name, [None] * len(paths)) for name in ("label", "split"))
    base = Path.cwd().as_posix()
    return [
        (
            spell_name(str(path)),
            spell_name(locate(str(path), base).rpartition("/")[0].rpartition("/")[2] if pd.isna(label) else str(label)),
            ALL if pd.isna(split) else spell_name(str(split)),
            *(None, None, ""),
        )
        for path, label, split in zip(paths, labels, splits, strict=True)
    ]


def _report(lost: Sequence[ErrorRow], *, of: int, on_error: str) -> None:
    if not lost or on_error == "skip":
        return
    named = "; ".join(f"{row.path} ({row.reason})" for row in lost[:5]) + ("; ..." if len(lost) > 5 else "")
    sentence = f"{len(lost)} of {of} images cannot be read and have no features: {named}"
    if on_error == "raise":
        raise FruitsError(sentence)
    _log.warning(sentence)


class _PathExtractor(Extractor):
    """Reads images of which no more than the path is known."""

    def _read(self, row: dict[str, Any]) -> tuple[bytes, str]:
        return self.source.read(row["path"]), ""
