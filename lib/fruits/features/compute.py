"""Compute the features that the store lacks, in one Spark job."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fruits.errors import FruitsError
from fruits.features.backbone import Backbone
from fruits.features.engines import broadcast_engine
from fruits.features.extract import Extractor, collect_errors, extract_features
from fruits.features.store import find_missing, write_batch
from fruits.progress import track_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Computation:
    """What became of the images: features in the store, how many of them new, error rows (path, stage, reason)."""

    features: int
    computed: int
    errors: list[tuple[str, str, str]]


def compute_features(
    spark: "SparkSession",
    images: pd.DataFrame,
    *,
    backbone: Backbone,
    input_dir: Path,
    store: Path,
    batch_size: int,
    images_per_task: int,
) -> Computation:
    """Send the images that the store lacks through the model, with a progress bar, and store their features.

    Parameters
    ----------
    batch_size
        Images a forward pass, at most.
    images_per_task
        Images a task (and so a file), about.

    Raises
    ------
    FruitsError
        If the model fails; an image that cannot be decoded is an error row instead.
    """
    missing = find_missing(images, store=store)
    if missing.empty:
        return Computation(len(images), 0, [])
    errors = collect_errors(spark.sparkContext)
    extractor = Extractor(
        model_id=backbone.model_id,
        make_predict=broadcast_engine(spark.sparkContext, backbone),
        input_dir=input_dir,
        batch_size=batch_size,
        errors=errors,
    )
    with track_rows(spark, total=len(missing)), _one_sentence():
        rows = _spread(spark, missing, images_per_task=images_per_task)
        write_batch(extract_features(rows, extractor), store=store)
    left = find_missing(images, store=store)
    return Computation(len(images) - len(left), len(missing) - len(left), errors.value)


def _spread(spark: "SparkSession", images: pd.DataFrame, *, images_per_task: int) -> "DataFrame":
    cores = spark.sparkContext.defaultParallelism
    tasks = count_tasks(len(images), cores=cores, images_per_task=images_per_task)
    return spark.createDataFrame(images).repartition(tasks)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Say what failed on the worker, out of the hundreds of lines that Spark wraps around it."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        named = re.findall(r"^\s*((?:\w+\.)*\w*(?:Error|Exception): .*)", str(error), re.MULTILINE)
        said = next((line for line in reversed(named) if not line.startswith(("java.", "org.", "py4j."))), None)
        raise FruitsError(f"the extraction failed on a worker: {said or str(error).splitlines()[0]}") from error


def count_tasks(images: int, *, cores: int, images_per_task: int) -> int:
    """Return how many tasks to cut the images into: a multiple of the cores, so that none idles at the end."""
    return cores * math.ceil(images / (cores * images_per_task))
