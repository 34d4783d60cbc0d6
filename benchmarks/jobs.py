"""What is measured in a process of its own: a job in, its figures out. `python -m benchmarks.jobs NAME JSON`."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import baselines, scaling

CORES = 2
WARM_UP = 64


def extract(*, input_dir: str, model: str, store: str, warm: bool = False) -> dict[str, Any]:
    """Our extraction, files or shards to features; `warm` lets the workers start before the clock does."""
    from fruits.features.extraction import compute_features
    from fruits.images import open_images

    started = time.perf_counter()
    spark = _open_ours(event_log=Path(store).parent)
    session = time.perf_counter() - started
    images = open_images(Path(input_dir)).list_images(split="Training", classes=["*"])
    settings = {"backbone": _load_backbone(model), "store": Path(store), "batch_size": 16, "images_per_task": 1024}
    if warm:
        compute_features(spark, images[:WARM_UP], input_dir=Path(input_dir), **settings)
        images = images[WARM_UP:]
    started = time.perf_counter()
    done = compute_features(spark, images, input_dir=Path(input_dir), **settings)
    seconds = time.perf_counter() - started
    sys.stdout.writelines(f"{error}\n" for error in done.errors)
    files = sum(1 for file in Path(store).rglob("*.parquet"))
    return {"seconds": seconds, "images": done.computed, "session": session, "files": files}


def extract_binary_files(*, input_dir: str, model: str, store: str) -> dict[str, Any]:
    """Our extraction with the images read by Spark's binaryFile source, for comparison."""
    from pyspark.sql import functions as f

    from fruits.features.engines import broadcast_engine
    from fruits.features.udf import SCHEMA, Extractor, collect_errors
    from fruits.images.tree import ClassFolders

    class ContentExtractor(Extractor):
        def _read(self, row: dict[str, Any]) -> tuple[bytes, str]:
            return bytes(row["content"]), ""

    spark = _open_ours()
    backbone = _load_backbone(model)
    started = time.perf_counter()
    files = baselines.read_binary_files(spark, input_dir)
    rows = files.select(
        f.col("path"),
        f.element_at(f.split("path", "/"), -2).alias("label"),
        f.lit("Training").alias("split"),
        f.col("length"),
        f.col("modificationTime").cast("bigint").alias("modified"),
        f.lit("").alias("digest"),
        f.col("content"),
    )
    extractor = ContentExtractor(
        model_id=backbone.model_id,
        make_predict=broadcast_engine(spark.sparkContext, backbone),
        source=ClassFolders(Path(input_dir)),
        batch_size=16,
        errors=collect_errors(spark.sparkContext),
    )
    rows.mapInArrow(extractor.extract, SCHEMA).write.parquet(store)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "images": spark.read.parquet(store).count()}


def fit_pca(*, store: str, k: int = 200, warm: bool = False) -> dict[str, Any]:
    """Fit our PCA to everything in a store, found and read from Parquet; `warm`: after a fit to 64 images."""
    import pyarrow.dataset as ds

    from fruits.features.batches import list_batches
    from fruits.features.store import read_features
    from fruits.pca import fit_pca

    files = [str(file) for batch in list_batches(Path(store)) for file in batch.glob("*.parquet")]
    images = ds.dataset(files).to_table(columns=["path", "label", "split", "digest"]).to_pandas()
    spark = _open_ours()
    if warm:
        fit_pca(read_features(spark, images[:WARM_UP], store=Path(store)), k=k)
    started = time.perf_counter()
    pca = fit_pca(read_features(spark, images, store=Path(store)), k=k)
    return {
        "seconds": time.perf_counter() - started,
        "images": pca.n_samples,
        "shares": pca.explained_variance_ratio.tolist(),
    }


def _open_ours(*, event_log: Path | None = None) -> Any:
    """Open a session as `fruits run` does, which keeps Spark's event log."""
    from fruits.session import open_session

    return open_session(master=f"local[{CORES}]", driver_memory="4g", name="benchmark", event_log=event_log)


def _load_backbone(model: str) -> Any:
    from fruits.features.model import Backbone
    from fruits.networks import find_network

    facts = json.loads(model)
    network = find_network("mobilenet_v2", facts.pop("input_size"))
    return Backbone(**{**facts, "folder": Path(facts["folder"])}, network=network)


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "ours": extract,
    "ours, binaryFile": extract_binary_files,
    "ours, PCA": fit_pca,
    "two plain processes": baselines.extract_plainly,
    "LiteRT alone": baselines.run_litert_alone,
    "tf.function UDF": baselines.extract_by_tf_function,
    "naive UDF": baselines.extract_naively,
    "pyspark PCA": baselines.fit_spark_pca,
    "million listing": scaling.list_many,
    "table": scaling.extract_many,
    "million PCA": scaling.fit_generated,
    "milliseconds": baselines.time_steps,
}

if __name__ == "__main__":
    result = JOBS[sys.argv[1]](**json.loads(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(result))
