"""Both engines on real Spark workers: equal to the independent reference, and to each other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from conftest import WEIGHTS
from pyspark.sql import SparkSession

from fruits.features.engines import TOLERANCE, LiteRTEngine, broadcast_engine
from fruits.features.model import Backbone, load_model
from fruits.features.udf import SCHEMA, Extractor, collect_errors
from fruits.images.tree import ClassFolders

Prepare = Callable[[str], Backbone]


@pytest.fixture
def untrained(models: Path) -> Prepare:
    return lambda engine: load_model("random", engine=engine, folder=models)


@pytest.fixture
def trained(shared: Path, trained_models: Path) -> Prepare:
    return lambda engine: load_model(str(shared / WEIGHTS), engine=engine, folder=trained_models)


@pytest.fixture
def reference(shared: Path) -> pd.DataFrame:
    return pd.read_parquet(shared / "reference" / "apples_features_sample.parquet")


def extract(spark: SparkSession, backbone: Backbone, folder: Path, paths: Sequence[str], *, tasks: int) -> Any:
    """Return the features of some images, in their order, (n, 1280)."""
    found = [(folder / path).stat() for path in paths]
    length, modified = [status.st_size for status in found], [status.st_mtime_ns for status in found]
    facts = {"label": "a", "split": "Training", "length": length, "modified": modified, "digest": ""}
    images = pd.DataFrame({"path": paths}).assign(**facts)
    errors = collect_errors(spark.sparkContext)
    extractor = Extractor(
        model_id=backbone.model_id,
        make_predict=broadcast_engine(spark.sparkContext, backbone),
        source=ClassFolders(folder),
        batch_size=16,
        errors=errors,
    )
    table = spark.createDataFrame(images).repartition(tasks).mapInArrow(extractor.extract, SCHEMA).toPandas()
    assert errors.value == []
    return np.stack(table.set_index("path")["features"].loc[list(paths)].to_list())


def assert_equal_features(got: Any, right: Any, *, scale: float = 1.0) -> None:
    """Compare value by value, and along a thousand random directions of unit length."""
    assert got.shape == right.shape
    assert right.std() > 100 * TOLERANCE * scale
    difference = got.astype(np.float64) - right
    assert np.abs(difference).max() < TOLERANCE * scale
    directions = np.random.default_rng(0).normal(size=(1280, 1000))
    assert np.abs(difference @ (directions / np.linalg.norm(directions, axis=0))).max() < TOLERANCE * scale


@pytest.mark.tensorflow
def test_litert_equals_the_reference(
    spark: SparkSession, shared: Path, trained: Prepare, reference: pd.DataFrame
) -> None:
    got = extract(spark, trained("litert"), shared / "fruits-360", reference["path"], tasks=2)
    assert len(got) == 161
    assert_equal_features(got, np.stack(reference["features"].to_list()))


@pytest.mark.tensorflow
def test_tensorflow_equals_the_reference_and_litert(
    spark: SparkSession, shared: Path, trained: Prepare, reference: pd.DataFrame
) -> None:
    some = reference[::6]
    got = extract(spark, trained("tensorflow"), shared / "fruits-360", some["path"], tasks=1)
    assert len(got) == 27
    assert_equal_features(got, np.stack(some["features"].to_list()))
    assert_equal_features(got, extract(spark, trained("litert"), shared / "fruits-360", some["path"], tasks=1))


@pytest.mark.tensorflow
def test_untrained_engines_agree_too(
    spark: SparkSession, untrained: Prepare, tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    for seed in range(6):
        (tmp_path / f"{seed}.jpg").write_bytes(image_bytes((40 * seed, 200, 90), seed=seed))
    paths = sorted(file.name for file in tmp_path.glob("*.jpg"))
    got = [extract(spark, untrained(e), tmp_path, paths, tasks=1) for e in ("tensorflow", "litert")]
    assert 1e-3 < got[1].std() < 1e5  # Keras's own initialisation gives 1e-12
    assert_equal_features(got[0], got[1], scale=float(got[1].max()))


@pytest.mark.tensorflow
def test_litert_keeps_what_it_gave_and_the_size_of_the_batch_does_not_matter(untrained: Prepare) -> None:
    content = untrained("litert").flatbuffer.read_bytes()
    predict = LiteRTEngine(cast("Any", SimpleNamespace(value=content)))()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    together = predict(pixels)
    kept = together.copy()
    alone = np.concatenate([predict(pixels[n : n + 1]) for n in (2, 1, 0)])[::-1]
    np.testing.assert_array_equal(together, kept)
    np.testing.assert_array_equal(together, alone)
    assert (together.shape, together.dtype) == ((3, 1280), np.dtype(np.float32))
    assert len(np.unique(together, axis=0)) == 3
    assert predict(pixels[:0]).shape == (0, 1280)
