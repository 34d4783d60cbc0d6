"""Spark tables of images: they stay on the workers, and may bring the content of the images with them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

import fruits
from fruits.session import limit_batches
from fruits_cli.pack import pack_images

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def model(models: Path) -> Any:
    return fruits.load_model("random", folder=models)


@pytest.fixture
def images(fruit_folder: Path, tmp_path: Path, spark: SparkSession) -> DataFrame:
    """Return twelve packed images."""
    pack_images(fruit_folder, tmp_path / "packed")
    return spark.read.parquet(str(tmp_path / "packed"))


def read_rows(features: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((row.path, row.label, row.split, *row.features) for row in features.collect())


def test_packed_shards_and_binary_files_are_tables_of_images(
    spark: SparkSession, model: Any, fruit_folder: Path, images: DataFrame
) -> None:
    listed = read_rows(fruits.extract_features(fruits.list_images(fruit_folder), model, spark=spark))
    assert len(listed) == 12
    shards = read_rows(fruits.extract_features(images, model))
    assert [(f"{fruit_folder}/{path}", *rest) for path, *rest in shards] == listed
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    files = read_rows(fruits.extract_features(reader.load(str(fruit_folder)), model))
    assert files == [(f"file:{path}", label, "all", *features) for path, label, _, *features in listed]


def test_no_row_of_a_spark_table_comes_to_the_driver(
    model: Any, images: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: DataFrame) -> None:
        raise AssertionError("rows were collected")

    for name in ("collect", "toPandas", "toLocalIterator"):
        monkeypatch.setattr(DataFrame, name, refuse)
    assert fruits.extract_features(images, model).count() == 12
    with pytest.raises(fruits.FruitsError, match=r"12 of 12 images cannot be read .*No such file"):
        fruits.extract_features(images.drop("content", "label", "split"), model)


def test_features_are_written_instead_of_cached(
    spark: SparkSession, model: Any, images: DataFrame, tmp_path: Path
) -> None:
    features = fruits.extract_features(images, model, output=tmp_path / "features")
    assert not features.is_cached
    assert read_rows(features) == read_rows(spark.read.parquet(str(tmp_path / "features")))
    pca = fruits.fit_pca(features, k=2)
    assert (pca.n_samples, pca.model_id) == (12, model.model_id)
    with pytest.raises(fruits.FruitsError, match="already exists"):
        fruits.extract_features(images, model, output=tmp_path / "features")


def test_rows_that_are_no_images(spark: SparkSession, model: Any) -> None:
    rows = [("a/b.jpg", None), ("c.jpg", bytearray(b"no image"))]
    errors: list[Any] = []
    table = spark.createDataFrame(rows, "path string, content binary")
    with pytest.raises(fruits.FruitsError, match="2 of 2 images cannot be read"):
        fruits.extract_features(table, model, errors=errors)
    assert [(row.path, row.stage, row.reason[:11]) for row in sorted(errors)] == [
        ("a/b.jpg", "read", "its content"),
        ("c.jpg", "decode", "not an imag"),
    ]
    with pytest.raises(fruits.FruitsError, match=r"features failed: a path of images is null or empty; leave it out"):
        fruits.extract_features(spark.createDataFrame([("a",), (None,)], "path string"), model)
    with pytest.raises(fruits.UsageError, match="images is empty"):
        fruits.extract_features(table.limit(0), model)
    with pytest.raises(fruits.UsageError, match="has the type bigint; it must be string"):
        fruits.extract_features(spark.range(1).withColumnRenamed("id", "path"), model)


def test_few_photographs_are_handed_over_at_once(spark: SparkSession) -> None:
    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_arrays([pa.array(np.array([batch.num_rows]))], ["rows"])

    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    with limit_batches(spark, 4):
        sizes = spark.range(10, numPartitions=1).mapInArrow(count, "rows long").persist()
    assert spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == before
    assert [row.rows for row in sizes.collect()] == [4, 4, 2]
    sizes.unpersist()
