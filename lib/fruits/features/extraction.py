"""Compute the features that the store lacks, batch after batch, so that a run that dies loses little."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fruits.errors import explain_failures
from fruits.features.batches import write_batch
from fruits.features.engines import broadcast_engine
from fruits.features.model import Backbone
from fruits.features.store import find_earlier, find_missing, list_known, name_digests
from fruits.features.udf import Extractor, collect_errors
from fruits.images import open_images
from fruits.images.rows import ErrorRow
from fruits.images.source import hash_images
from fruits.jobs import run_jobs
from fruits.progress import track_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A batch is a Spark job. Small ones lose little when a run dies; more of them at once than this would keep the
# driver of a large cluster busy with planning.
JOBS_AT_ONCE = 8
# A task that is told to stop ends after the images of one forward pass; writing its file takes less than a second.
STOP_SECONDS = 20
_EARLIER = (
    "The stored features of an earlier version know images by path and time, not by content; they are computed anew "
    "once."
)


@dataclass(frozen=True, eq=False)
class Computation:
    """What became of the images.

    `images` have features in the store now, with their digests, `computed` of them by this run; `errors` are the
    others. `notes` say what a reader should know, such as why features were computed anew.
    """

    images: pd.DataFrame
    computed: int
    errors: list[ErrorRow]
    notes: list[str] = field(default_factory=list)

    @property
    def features(self) -> int:
        """How many images have features."""
        return len(self.images)


def compute_features(
    spark: "SparkSession",
    images: pd.DataFrame,
    *,
    backbone: Backbone,
    input_dir: Path,
    store: Path,
    batch_size: int,
    images_per_task: int,
    fresh: bool = False,
) -> Computation:
    """Send the images that the store lacks through the model, with a progress bar, and store their features.

    A forward pass has at most `batch_size` images, a task (and so a file) about `images_per_task`. `fresh` computes
    all images; the store keeps what it holds. An image that cannot be decoded is an error row.
    """
    source = open_images(input_dir)
    images = hash_images(images, source=source, known=list_known(store)[: 0 if fresh else None])
    if (missing := images if fresh else find_missing(images, store=store)).empty:
        return Computation(images, 0, [])
    extractor = Extractor.of(
        backbone,
        make_predict=broadcast_engine(spark.sparkContext, backbone),
        source=source,
        batch_size=batch_size,
        errors=collect_errors(spark.sparkContext),
    )
    with track_rows(spark, total=len(missing)):
        written = _write_batches(spark, missing, extractor, store=store, images_per_task=images_per_task)
    return _reconcile(images, missing, extractor.errors.value, store=store, written=written, fresh=fresh)


def _reconcile(
    images: pd.DataFrame,
    missing: pd.DataFrame,
    errors: list[ErrorRow],
    *,
    store: Path,
    written: Sequence[Path],
    fresh: bool,
) -> Computation:
    """Look what has features now; another run at the same time may have computed what this one could not read."""
    images = name_digests(images, batches=written)
    left = set(find_missing(images, store=store, batches=written if fresh else None)["path"])
    missing = images[images["path"].isin(missing["path"])]
    computed = len(missing) - len(find_missing(missing, store=store, batches=written))
    kept = images[~images["path"].isin(left)]
    notes = [] if fresh or find_earlier(missing, store=store).empty else [_EARLIER]
    return Computation(kept, computed, [row for row in errors if row.path in left], notes)


def cut_batches(images: pd.DataFrame, *, tasks: int, cores: int, images_per_task: int) -> list[pd.DataFrame]:
    """Cut the images into equal batches, of so many tasks each, that keep all cores busy to the end."""
    rounds = math.ceil(len(images) / (cores * images_per_task))
    count = min(len(images), math.ceil(rounds * cores / tasks))
    bounds = np.linspace(0, len(images), count + 1).round().astype(int)
    return [images[start:end] for start, end in pairwise(bounds)]


def _write_batches(
    spark: "SparkSession", images: pd.DataFrame, extractor: Extractor, *, store: Path, images_per_task: int
) -> Sequence[Path]:
    """Write each batch as a job of its own."""
    context = spark.sparkContext
    cores = context.defaultParallelism
    tasks = max(1, cores // JOBS_AT_ONCE)
    batches = cut_batches(images, tasks=tasks, cores=cores, images_per_task=images_per_task)
    names = [f"batch {number} of {len(batches)}" for number in range(1, len(batches) + 1)]

    def write(name: str, batch: pd.DataFrame) -> Path:
        span = f"{batch['path'].iloc[0]} to {batch['path'].iloc[-1]}"
        with explain_failures(f"the extraction of {name} ({span})"):
            rows = spark.createDataFrame(batch).coalesce(tasks)
            return write_batch(rows, extractor.extract, store=store)

    jobs = {f"features, {name}": partial(write, name, batch) for name, batch in zip(names, batches, strict=True)}
    # Tasks on other machines could not see the file.
    finish = partial(_finish, stop=extractor.stop) if str(context.master).startswith("local") else None
    # One more than the cores can work on: while the last task of a job ends, the next job's are there.
    return run_jobs(context, jobs, at_once=math.ceil(cores / tasks) + 1, finish=finish)


def _finish(jobs: Sequence["Future[Path]"], *, stop: Path) -> None:
    """Let the batches under way end with the images that are computed: whoever interrupts loses nothing."""
    try:
        with suppress(OSError):  # no room for the file: they are cancelled instead
            stop.touch()
            wait(jobs, timeout=STOP_SECONDS)
    finally:
        stop.unlink(missing_ok=True)
