"""What millions of images ask of the driver, the workers and the PCA, with made-up files, images and features."""

import math
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

FEATURES = 1280
# As many as lie in a packed shard of Fruits-360, which Spark reads as one task.
SHARD = 26_000


def list_many(*, images: int, classes: int = 200, chosen: int = 100_000) -> dict[str, Any]:
    """List a tree of empty files and select some of them."""
    from fruits.images import open_images
    from fruits.images.selection import select_images

    with tempfile.TemporaryDirectory() as folder:
        for label in range(classes):
            place = Path(folder) / "Training" / f"class {label:03d}"
            place.mkdir(parents=True)
            for number in range(images // classes):
                (place / f"{number:07d}_100.jpg").touch()
        started = time.perf_counter()
        table = open_images(Path(folder)).list_images(split="Training", classes=["*"])
        listed = time.perf_counter()
        selected = select_images(table, max_images=chosen, seed=42)
        ended = time.perf_counter()
    megabytes = int(table.memory_usage(deep=True).sum()) / 2**20
    return {
        "images": len(table),
        "selected": len(selected),
        "seconds": listed - started,
        "selecting": ended - listed,
        "table_mib": megabytes,
    }


class GeneratedFeatures:
    """As many rows of random features as asked for, made in the workers: what StoredFeatures is to `fit_pca`."""

    columns = ("features",)

    def __init__(self, spark: Any, *, rows: int, block: int = 2048) -> None:
        self.sparkSession = spark
        self.rows, self.block = rows, block

    def select(self, *columns: str) -> "GeneratedFeatures":
        """Return the features: they have no other column."""
        return self

    def mapPartitions(self, function: Any) -> Any:  # noqa: N802 - as on an RDD
        """Apply a function to the blocks of each task and return what it yields, as an RDD."""
        block, rows = self.block, self.rows
        starts = self.sparkSession.sparkContext.parallelize(range(0, rows, block))
        return starts.mapPartitions(lambda starts: function(_make_blocks(starts, block=block, rows=rows)))


def _make_blocks(starts: Iterable[int], *, block: int, rows: int) -> Iterator[Any]:
    import pyarrow as pa

    from fruits.arrow import to_lists

    for start in starts:
        count = min(block, rows - start)
        made = np.random.default_rng(start).random((count, FEATURES), np.float32)
        yield pa.RecordBatch.from_arrays([to_lists(made)], ["features"])


def fit_generated(*, images: int, k: int = 200) -> dict[str, Any]:
    """Fit our PCA to generated features."""
    from fruits.pca import fit_pca
    from fruits.session import open_session

    spark = open_session(master="local[2]", driver_memory="4g", name="benchmark")
    started = time.perf_counter()
    pca = fit_pca(GeneratedFeatures(spark, rows=images), k=k)  # type: ignore[arg-type]
    return {"seconds": time.perf_counter() - started, "images": pca.n_samples}


def make_fast_model() -> Any:
    """Make a predict function that returns at once: 16 random features."""
    return lambda pixels: np.random.default_rng().random((len(pixels), 16), np.float32)


def extract_many(*, images: int, folder: str, tasks: int = 0) -> dict[str, Any]:
    """Extract features of a table that the workers make, fit a PCA, write the scores; the driver sees no row.

    Its paths name files that are not there: no image is opened or decoded, and the model returns at once. More `tasks`
    than shards would make are those of a larger table, to see what Spark's own records of them take.
    """
    import dataclasses

    from pyspark.sql import functions as f

    from fruits.features import dataframe
    from fruits.features.model import Backbone
    from fruits.features.udf import _to_batch
    from fruits.networks import DEFAULT
    from fruits.pca import fit_pca
    from fruits.session import open_session

    class FastExtractor(dataframe._PathExtractor):
        def _extract_slice(self, rows: Any, timeouts: list[str]) -> Any:
            pixels = [np.zeros(1, np.uint8)] * rows.num_rows
            return _to_batch(rows, [""] * rows.num_rows, self._predict(pixels), length=16)

    network = dataclasses.replace(DEFAULT, features=16)
    facts = {"weights": "fast", "sha256": "0" * 64, "engine": "litert", "folder": Path(folder), "network": network}
    model = Backbone(tensors=0, parameters=0, bytes=0, **facts)  # type: ignore[arg-type]
    spark = open_session(master="local[2]", driver_memory="1g", name="benchmark")
    path = f.format_string("class %03d/%09d.jpg", f.col("id") % 200, f.col("id"))
    # Files of 1,280 features are as large as Spark's splits: each is a task.
    spark.conf.set("spark.sql.files.openCostInBytes", "128m")
    table = spark.range(0, images, numPartitions=tasks or math.ceil(images / SHARD)).select(path.alias("path"))
    times = [time.perf_counter()]
    engine = mock.patch.object(dataframe, "broadcast_engine", return_value=make_fast_model)
    with engine, mock.patch.object(dataframe._PathExtractor, "of", FastExtractor.of):
        features = dataframe.extract_features(table, model, batch_size=256, output=f"{folder}/features")
    times.append(time.perf_counter())
    pca = fit_pca(features, k=8)
    times.append(time.perf_counter())
    pca.transform(features).write.parquet(f"{folder}/scores")
    times.append(time.perf_counter())
    steps = dict(zip(("extraction", "PCA", "scores"), np.diff(times).tolist(), strict=True))
    return {"seconds": times[-1] - times[0], "images": pca.n_samples, "steps": steps}
