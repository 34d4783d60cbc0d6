"""The driver of test_machines.py: python machines_driver.py MASTER IMAGES STORE MODELS OUTPUT.

Extracts, fits a PCA, looks at what the workers are, writes OUTPUT, and extracts afresh, while a machine is lost.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fruits.features.engines import LiteRTEngine, broadcast_engine
from fruits.features.extraction import compute_features
from fruits.features.model import load_model
from fruits.features.store import read_features
from fruits.images import open_images
from fruits.pca import fit_pca
from fruits.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HEAVY = ("tensorflow", "keras", "matplotlib", "papermill", "nbconvert")


def wait_for_executors(spark: "SparkSession", count: int) -> None:
    """Wait until so many executors have come; the driver is counted with them."""
    end = time.monotonic() + 60
    while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= count:
        assert time.monotonic() < end, f"fewer than {count} executors after a minute"
        time.sleep(0.1)


def look_at_workers(spark: "SparkSession", engine: LiteRTEngine) -> list[dict[str, object]]:
    """Run the engine in tasks that each tell where they ran, on which Python, and what they have imported."""
    heavy = HEAVY

    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import importlib.util
        import os
        import sys
        import time

        import fruits

        for _ in batches:
            features = engine()(np.zeros((1, 224, 224, 3), np.uint8))
            time.sleep(0.3)  # else one executor would take all tasks
            seen = {
                "folder": os.getcwd(),  # noqa: PTH109
                "python": sys.executable,
                "package": fruits.__file__,
                "features": features.shape,
                "imported": [name for name in heavy if name in sys.modules],
                "tensorflow": importlib.util.find_spec("tensorflow") is not None,
            }
            yield pa.RecordBatch.from_pydict({"seen": [json.dumps(seen)]})

    rows = spark.range(8, numPartitions=8).mapInArrow(look, "seen string").collect()
    return [json.loads(row.seen) for row in rows]


def main() -> None:
    master = sys.argv[1]
    root, store, models, output = map(Path, sys.argv[2:])
    backbone = load_model("random", folder=models)
    images = open_images(root).list_images(split="Training", classes=["*"])
    spark = open_session(master=master, driver_memory="512m", name="machines")
    wait_for_executors(spark, 2)
    where: dict[str, Any] = {"backbone": backbone, "input_dir": root, "store": store, "batch_size": 4}

    done = compute_features(spark, images, images_per_task=4, **where)
    pca = fit_pca(read_features(spark, done.images, store=store), k=5)
    engine = broadcast_engine(spark.sparkContext, backbone)
    assert isinstance(engine, LiteRTEngine)
    first = {
        "counts": [done.features, done.computed, len(done.errors)],
        "shares": list(pca.explained_variance_ratio),
        "workers": look_at_workers(spark, engine),
    }
    draft = output.with_suffix(".part")
    draft.write_text(json.dumps(first))
    draft.rename(output)

    done = compute_features(spark, images, images_per_task=1, fresh=True, **where)
    sys.stdout.write(f"afresh: {done.features} {done.computed} {len(done.errors)}\n")
    spark.stop()


if __name__ == "__main__":
    main()
