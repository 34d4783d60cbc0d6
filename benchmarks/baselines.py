"""The same job without us: plain processes, LiteRT alone, and the UDFs of the field, each written fairly."""

import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

PROCESSES = 2
TF_BATCH = 32


def extract_plainly(*, input_dir: str, flatbuffer: str, output: str) -> dict[str, Any]:
    """Two Python processes that read, decode, resize, infer and write Parquet; their start is in the time."""
    spawn = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    paths = sorted(str(path) for path in Path(input_dir).glob("Training/*/*.jpg"))
    Path(output).mkdir(parents=True)
    parts = [(paths[part::PROCESSES], flatbuffer, f"{output}/{part}.parquet") for part in range(PROCESSES)]
    workers = [spawn.Process(target=_extract_part, args=part) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a plain process failed")
    return {"seconds": time.perf_counter() - started, "images": len(paths)}


def run_litert_alone(*, input_dir: str, flatbuffer: str, count: int) -> dict[str, Any]:
    """Two processes that infer from pixels in memory: reading, decoding and start are not in the time."""
    paths = sorted(str(path) for path in Path(input_dir).glob("Training/*/*.jpg"))[: count * PROCESSES]
    spawn = multiprocessing.get_context("spawn")
    barrier, seconds = spawn.Barrier(PROCESSES), spawn.Queue()
    parts = [paths[part::PROCESSES] for part in range(PROCESSES)]
    workers = [spawn.Process(target=_infer_part, args=(part, flatbuffer, barrier, seconds)) for part in parts]
    for worker in workers:
        worker.start()
    times = [seconds.get() for _ in workers]
    for worker in workers:
        worker.join()
    return {"seconds": max(times), "images": len(paths)}


def time_steps(*, input_dir: str, flatbuffer: str, count: int) -> dict[str, Any]:
    """Milliseconds an image of each step, one process, nothing else running."""
    from PIL import Image

    predict = _load_litert(flatbuffer)
    paths = sorted(Path(input_dir).glob("Training/*/*.jpg"))[:count]
    contents, reading = _clock(lambda: [path.read_bytes() for path in paths])
    images, decoding = _clock(lambda: [Image.open(io.BytesIO(content)).convert("RGB") for content in contents])
    pixels, resizing = _clock(lambda: [np.asarray(image.resize((224, 224))) for image in images])
    predict(np.stack(pixels[:16]))
    _, inferring = _clock(lambda: [predict(np.stack(pixels[start : start + 16])) for start in range(0, count, 16)])
    steps = {"read": reading, "decode": decoding, "resize": resizing, "LiteRT": inferring}
    return {"steps": {name: 1000 * seconds / len(paths) for name, seconds in steps.items()}}


def extract_by_tf_function(*, input_dir: str, weights: str, output: str) -> dict[str, Any]:
    """Run an iterator pandas UDF: model built once a task, `tf.function` on batches of 32, one thread a task."""
    import pandas as pd
    from pyspark.sql.pandas.functions import pandas_udf

    spark = _open_plain_spark()
    tensors = spark.sparkContext.broadcast(_read_tensors(weights))
    started = time.perf_counter()

    @pandas_udf("array<float>")  # type: ignore[call-overload,misc] # its types know `functionType` only
    def featurize(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        model = _build_model(tensors.value)
        run = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
        for contents in batches:
            parts = [contents[start : start + TF_BATCH] for start in range(0, len(contents), TF_BATCH)]
            rows = [run(tf.constant(np.stack([_preprocess(content) for content in part]))).numpy() for part in parts]
            yield pd.Series(list(np.concatenate(rows)))

    files = read_binary_files(spark, input_dir)
    files.select("path", featurize("content").alias("features")).write.parquet(output)
    return {"seconds": time.perf_counter() - started, "images": spark.read.parquet(output).count()}


def extract_naively(*, input_dir: str, weights: str, output: str, warm_up: str = "") -> dict[str, Any]:
    """Run a scalar pandas UDF as the field writes it: a model for each Arrow batch, `predict` image by image.

    With a folder of a few images in `warm_up` the workers have started and imported TensorFlow before the clock does.
    """
    import pandas as pd
    from pyspark.sql.pandas.functions import pandas_udf

    spark = _open_plain_spark()
    tensors = spark.sparkContext.broadcast(_read_tensors(weights))

    @pandas_udf("array<float>")  # type: ignore[call-overload,misc] # its types know `functionType` only
    def featurize(contents: pd.Series) -> pd.Series:
        model = _build_model(tensors.value)
        return contents.map(lambda content: model.predict(_preprocess(content)[np.newaxis], verbose=0)[0])

    if warm_up:
        read_binary_files(spark, warm_up).select(featurize("content")).collect()
    started = time.perf_counter()
    files = read_binary_files(spark, input_dir)
    files.select("path", featurize("content").alias("features")).write.parquet(output)
    return {"seconds": time.perf_counter() - started, "images": spark.read.parquet(output).count()}


def fit_spark_pca(*, store: str, k: int = 200, warm: bool = False) -> dict[str, Any]:
    """Fit `pyspark.ml.feature.PCA` to the same files, on a session as PySpark makes it; `warm`: after a fit to 64."""
    from pyspark.ml.feature import PCA
    from pyspark.ml.functions import array_to_vector

    spark = _open_plain_spark()
    pca = PCA(k=k, inputCol="features", outputCol="pca")

    def read() -> Any:
        stored = spark.read.parquet(f"{store}/batch-*")
        return stored.select(array_to_vector(stored["features"]).alias("features"))

    if warm:
        pca.fit(read().limit(64))
    started = time.perf_counter()
    rows = read()
    model = pca.fit(rows)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "images": rows.count(), "shares": model.explainedVariance.toArray().tolist()}


def read_binary_files(spark: Any, input_dir: str) -> Any:
    """Read the images as the field does, shuffled to two tasks a core so that none idles."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.jpg")
    return reader.load(f"{input_dir}/Training").repartition(2 * PROCESSES)


def _open_plain_spark() -> Any:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{PROCESSES}]").config("spark.driver.memory", "4g")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _extract_part(paths: list[str], flatbuffer: str, output: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fruits.arrow import to_lists
    from fruits.images.decode import decode_image

    predict = _load_litert(flatbuffer)
    rows = [predict(decode_image(Path(path).read_bytes())[np.newaxis])[0] for path in paths]
    names = pa.array(paths, pa.string(), from_pandas=False)
    table = pa.Table.from_arrays([names, to_lists(np.stack(rows))], ["path", "features"])
    pq.write_table(table, output, compression="NONE")


def _infer_part(paths: list[str], flatbuffer: str, barrier: Any, seconds: Any) -> None:
    from fruits.images.decode import decode_image

    predict = _load_litert(flatbuffer)
    pixels = np.stack([decode_image(Path(path).read_bytes()) for path in paths])
    predict(pixels[:16])
    barrier.wait()
    _, spent = _clock(lambda: predict(pixels))
    seconds.put(spent)


def _load_litert(flatbuffer: str) -> Callable[[Any], Any]:
    from fruits.features.engines import LiteRTEngine

    class File:
        value = Path(flatbuffer).read_bytes()

    return LiteRTEngine(File())()  # type: ignore[arg-type]


def _read_tensors(weights: str) -> list[Any]:
    with np.load(weights) as tensors:
        return [tensors[name] for name in tensors.files]


def _build_model(tensors: list[Any]) -> Any:
    from fruits.features.keras_model import build_model
    from fruits.networks import DEFAULT

    model = build_model(DEFAULT, None)
    model.set_weights(tensors)
    return model


def _preprocess(content: bytes) -> Any:
    from fruits.images.decode import decode_image

    return decode_image(content).astype(np.float32) / 127.5 - 1


def _clock(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def facts_of(backbone: Any) -> str:
    """Spell a prepared backbone for a job's process."""
    facts = {name: value for name, value in vars(backbone).items() if name != "network"}
    return json.dumps({**facts, "folder": str(backbone.folder), "input_size": backbone.input_size})
