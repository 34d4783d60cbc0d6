"""Compute the features that the store lacks, batch after batch, so that a run that dies loses little."""

import math
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fruits.errors import FruitsError
from fruits.features.backbone import Backbone
from fruits.features.engines import broadcast_engine
from fruits.features.extract import Extractor, collect_errors, extract_features
from fruits.features.store import find_missing, write_batch
from fruits.images.source import open_source
from fruits.progress import track_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Batches under way at once: while the last tasks of one end, the first of the next keep the other cores busy.
AT_ONCE = 2


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
        source=open_source(input_dir),
        batch_size=batch_size,
        errors=errors,
    )
    with track_rows(spark, total=len(missing)), _one_sentence():
        cores = spark.sparkContext.defaultParallelism
        batches = cut_batches(missing, cores=cores, images_per_task=images_per_task)
        _write_batches(spark, batches, extractor, store=store)
    left = find_missing(images, store=store)
    return Computation(len(images) - len(left), len(missing) - len(left), errors.value)


def cut_batches(images: pd.DataFrame, *, cores: int, images_per_task: int) -> list[pd.DataFrame]:
    """Cut the images into batches of equal size, a task of at most `images_per_task` images for each core."""
    count = math.ceil(len(images) / (cores * images_per_task))
    bounds = np.linspace(0, len(images), count + 1).round().astype(int)
    return [images[start:end] for start, end in pairwise(bounds)]


def _write_batches(spark: "SparkSession", batches: list[pd.DataFrame], extractor: Extractor, *, store: Path) -> None:
    """Write each batch as a job of its own; the first that fails stops the others."""
    group = f"fruits-{uuid.uuid4().hex[:8]}"

    def write(number: int, batch: pd.DataFrame) -> None:
        spark.sparkContext.setJobGroup(group, f"features, batch {number} of {len(batches)}", interruptOnCancel=True)
        write_batch(extract_features(spark.createDataFrame(batch), extractor), store=store)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(write, number, batch) for number, batch in enumerate(batches, 1)]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            spark.sparkContext.cancelJobGroup(group)
            raise


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
