"""Features of images on any Spark session, as a DataFrame."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from fruits.arrow import to_strings
from fruits.errors import FruitsError, UsageError, explain_failures
from fruits.features.engines import broadcast_engine, local_engine
from fruits.features.model import Backbone
from fruits.features.udf import SCHEMA, Extractor, LocalErrors, collect_errors
from fruits.folders import escape_pattern
from fruits.images.paths import ImagePaths, locate
from fruits.images.rows import ALL, NAMES, STORED, ErrorRow, arrow_schema
from fruits.images.table import EMPTY, list_rows, name_images
from fruits.session import limit_batches
from fruits.workers import prepare_workers

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

_log = logging.getLogger(__name__)


def extract_features(
    images: "pd.DataFrame | DataFrame | Sequence[str | Path]",
    model: Backbone,
    *,
    spark: "SparkSession | None" = None,
    batch_size: int = 16,
    on_error: Literal["warn", "raise", "skip"] = "warn",
    errors: list[ErrorRow] | None = None,
    output: str | Path | None = None,
) -> "DataFrame":
    """Compute the features of images on Spark at once; keep them in its cache (`unpersist()` frees it) or a folder.

    Parameters
    ----------
    images
        A pandas or Spark table with a column `path`, or a list of paths, which workers must be able to open; a relative
        one starts at the driver's working directory. A missing `label` is the name of the image's folder, a missing
        `split` is "all". A binary column `content` of a Spark table, as `binaryFile` and the shards of `fruits pack`
        have it, is read instead of files. A Spark table stays on the workers, and keeps its partitions: a task each.
    spark, batch_size
        By default the session of the Spark table, or the active one; images that a worker takes at once, at most.
    on_error, errors
        If images cannot be read: `warn` logs a warning that names some, `raise` raises FruitsError, `skip` is silent;
        a list `errors` gets an ErrorRow (path, stage, reason) for each.
    output
        A new folder for Parquet files, which Spark writes: nothing is cached then.

    Returns
    -------
    DataFrame
        `path` (as it was given), `label`, `split` (string), `features` (array<float>), for each image that can be read.

    Raises
    ------
    UsageError
        If `images` is empty or no such table, or a path is null; of a Spark table that is a FruitsError of the workers.
    """
    spark = _check_arguments(images, model, spark=spark, on_error=on_error)
    options: dict[str, Any] = {"batch_size": batch_size, "on_error": on_error, "output": output}
    return _extract(name_images(images, spark), model, lost=[] if errors is None else errors, **options)


def _extract(
    table: "DataFrame",
    model: Backbone,
    *,
    batch_size: int,
    on_error: str,
    lost: list[ErrorRow],
    output: str | Path | None,
) -> "DataFrame":
    from pyspark.sql import functions

    spark, context = table.sparkSession, table.sparkSession.sparkContext
    prepare_workers(context)
    extractor = _PathExtractor.of(
        model,
        make_predict=broadcast_engine(context, model),
        source=ImagePaths(Path.cwd().as_posix()),
        batch_size=batch_size,
        errors=collect_errors(context),
    )
    named = functions.col("features").alias("features", metadata={"model_id": model.model_id})
    features = table.mapInArrow(extractor.extract, SCHEMA).select(*NAMES, named)
    try:
        limited = limit_batches(spark, batch_size) if "content" in table.columns else nullcontext()
        with explain_failures("the extraction of the features"), limited:
            if output is None:
                features.persist()
            else:
                features.write.parquet(str(output))
                features = spark.read.parquet(escape_pattern(str(output)))
            count = features.count()
        unread = list(dict.fromkeys(extractor.errors.value))
        lost += unread
        _report(unread, count=count, on_error=on_error)
    except BaseException:
        features.unpersist()
        raise
    return features


def extract_here(
    images: "pd.DataFrame | Sequence[str | Path]", model: Backbone, *, batch_size: int = 16
) -> tuple[pa.Table, list[ErrorRow]]:
    """Compute features as `extract_features` does, of a few images, in this process and without Spark."""
    rows, lost = list_rows(images), LocalErrors()
    extractor = _PathExtractor.of(
        model,
        make_predict=local_engine(model),
        source=ImagePaths(Path.cwd().as_posix()),
        batch_size=batch_size,
        errors=lost,
    )
    batch = pa.RecordBatch.from_pylist([dict(zip(NAMES, row, strict=True)) for row in rows], arrow_schema(NAMES))
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


def _report(lost: Sequence[ErrorRow], *, count: int, on_error: str) -> None:
    """Say which images have no features, beside so many that have."""
    if not count and not lost:
        raise UsageError(EMPTY)
    if not lost or on_error == "skip":
        return
    named = "; ".join(f"{row.path} ({row.reason})" for row in lost[:5]) + ("; ..." if len(lost) > 5 else "")
    sentence = f"{len(lost)} of {count + len(lost)} images cannot be read and have no features: {named}"
    if on_error == "raise" or not count:
        raise FruitsError(sentence)
    _log.warning(sentence)


class _PathExtractor(Extractor):
    """Reads images of which no more than the path is known, or the content."""

    source: ImagePaths

    def extract(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield features as its base does, of batches with the columns path, label and split and perhaps content."""
        return super().extract(map(self._complete, batches))

    def _complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        paths, labels, splits = (batch.column(name).to_pylist() for name in NAMES)
        if not all(paths):
            raise FruitsError("a path of images is null or empty", cure="leave it out: images.where(\"path > ''\")")
        folders = (locate(path, self.source.base).rpartition("/")[0].rpartition("/")[2] for path in paths)
        unknown = pa.nulls(len(paths), pa.int64())
        columns = {
            **dict(zip(batch.schema.names, batch.columns, strict=True)),
            "label": to_strings(
                folder if label is None else label for label, folder in zip(labels, folders, strict=True)
            ),
            "split": to_strings(ALL if split is None else split for split in splits),
            **{"length": unknown, "modified": unknown, "digest": to_strings([""] * len(paths))},
        }
        return pa.RecordBatch.from_arrays([*columns.values()], [*columns])

    def _read(self, row: dict[str, Any]) -> tuple[bytes, str]:
        if "content" not in row:
            return self.source.read(row["path"]), ""
        if row["content"] is None:
            raise OSError("its content is null: it could not be read when the table was made")
        return row["content"], ""
