"""Tables of images that a user gives: of pandas, of Spark, or a list of paths."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fruits.errors import UsageError
from fruits.images.rows import NAMES, spark_schema
from fruits.images.walk import spell_name

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

# Images a task: what a worker that dies can lose.
_TASK = 1024
EMPTY = "images is empty; give at least one path."


def name_images(images: Any, spark: "SparkSession") -> "DataFrame":
    """Return a Spark table of path, label and split, of which the last two may be null; perhaps with the contents."""
    from pyspark.sql import DataFrame, functions

    if not isinstance(images, DataFrame):
        rows, context = list_rows(images), spark.sparkContext
        tasks = min(len(rows), max(context.defaultParallelism, math.ceil(len(rows) / _TASK)))
        return spark.createDataFrame(context.parallelize(rows, tasks), spark_schema(NAMES), verifySchema=False)
    kinds = dict(images.dtypes)
    _check_columns(images.columns)
    if kinds["path"] != "string":
        raise UsageError(f"the column `path` of images has the type {kinds['path']}; it must be string.")
    names = [functions.col(name) if name in kinds else functions.lit(None).alias(name) for name in NAMES]
    content = ["content"] if kinds.get("content") == "binary" else []
    return images.select(*(name.cast("string") for name in names), *content)


def _check_columns(names: Iterable[Any]) -> None:
    if "path" not in names:
        raise UsageError(f"images has no column `path`; it has {', '.join(map(str, names)) or 'none'}.")


def _read_columns(images: Any) -> dict[str, list[Any]]:
    """Return the columns path, label and split of a pandas table, as far as they are there; of a list, the paths."""
    import pandas as pd

    if isinstance(images, pd.DataFrame):
        _check_columns(images.columns)
        return {name: images[name].tolist() for name in NAMES if name in images.columns}
    if isinstance(images, str | bytes | dict) or not hasattr(images, "__iter__"):
        raise UsageError(
            f"images is a {type(images).__name__}; give a pandas or Spark table with a column `path`, or a list of "
            "paths; fruits.list_images lists a folder."
        )
    return {"path": list(images)}


def list_rows(images: "pd.DataFrame | Sequence[str | Path]") -> list[tuple[str | None, ...]]:
    """Return path, label and split, of which the last two may be None, of a pandas table or a list of paths."""
    import pandas as pd

    columns = _read_columns(images)
    paths = columns["path"]
    if not paths:
        raise UsageError(EMPTY)
    for number, path in enumerate(paths):
        if not isinstance(path, str | Path) or not str(path):
            raise UsageError(f"the path of image {number} (counted from 0) is {path!r}; it must be a text, not empty.")
    spelt = [
        [None if pd.isna(value) else spell_name(str(value)) for value in columns.get(name, [None] * len(paths))]
        for name in NAMES
    ]
    return list(zip(*spelt, strict=True))
