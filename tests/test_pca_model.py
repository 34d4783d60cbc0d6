"""The PCA in files: what Spark loads, and what is loaded without Spark."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Array
from pyspark.ml import feature
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from fruits.errors import FruitsError
from fruits.folders import resolve
from fruits.moments import Moments
from fruits.ownership import write_marker
from fruits.pca import PCA, decompose
from fruits.pca_model import MEAN, SPARK_MODEL, load_pca, read_pca, save_pca

OWNER = {"target": "local", "input_dir": "/somewhere", "model_id": "mobilenet-1"}


@pytest.fixture(scope="module")
def cloud() -> Array:
    return np.random.default_rng(5).normal(size=(30, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def pca(cloud: Array) -> PCA:
    return decompose(Moments.of(cloud.astype(np.float64)), k=4)


def test_saved_model_is_sparks_own(spark: SparkSession, cloud: Array, pca: PCA, tmp_path: Path) -> None:
    save_pca(pca, tmp_path)
    loaded = feature.PCAModel.load(str(tmp_path / SPARK_MODEL))

    np.testing.assert_array_equal(loaded.pc.toArray().T, pca.components)
    np.testing.assert_array_equal(loaded.explainedVariance.toArray(), pca.explained_variance_ratio)
    assert (loaded.getK(), loaded.getInputCol(), loaded.getOutputCol()) == (4, "features", "pca")
    table = spark.createDataFrame([(Vectors.dense(row),) for row in cloud], ["features"]).coalesce(1)
    table = loaded.transform(table)
    scores = np.array([row["pca"].toArray() for row in table.collect()])
    np.testing.assert_allclose(scores, cloud.astype(np.float64) @ pca.components.T, rtol=1e-12)


def test_spark_saves_it_again_and_that_is_read(spark: SparkSession, pca: PCA, tmp_path: Path) -> None:
    """As the results of earlier versions, whose model Spark wrote."""
    save_pca(pca, tmp_path)
    model = feature.PCAModel.load(str(tmp_path / SPARK_MODEL))
    model.write().overwrite().save(str(tmp_path / SPARK_MODEL))

    np.testing.assert_array_equal(read_pca(tmp_path).components, pca.components)


@pytest.mark.parametrize(
    "name", ["run 12:30", "a,b", "a{b,c}[d]", "100% a%20b #1?", "été 漢 🍎", "back\\slash*", "${HOME}"]
)
def test_a_saved_pca_is_loaded_as_it_was_fitted(
    pca: PCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save_pca(pca, tmp_path / name)
    write_marker(tmp_path / name, owner=OWNER)
    monkeypatch.chdir(tmp_path)

    loaded = load_pca(name)

    for part in ("mean", "components", "explained_variance_ratio"):
        np.testing.assert_array_equal(getattr(loaded, part), getattr(pca, part))
    assert (loaded.n_components, loaded.n_samples, loaded.model_id) == (4, None, "mobilenet-1")
    assert "The target of 50% is reached with" in loaded.describe(0.5)
    with pytest.raises(FruitsError, match=r"model_info holds no finished results \(run.json is missing or broken\)"):
        load_pca(resolve(name, base=tmp_path) / MEAN.parent)
