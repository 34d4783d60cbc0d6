"""The tables of a run: what they hold, and that a good one is never lost."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from pyspark.ml.feature import PCAModel
from pyspark.sql import DataFrame, SparkSession

from fruits import results
from fruits.errors import FruitsError, UsageError
from fruits.pca import Components, Moments, components_of, project

LABELS = ['Apple "Red", 1', "Poire à cuire", "Kiwi"]
OWNER = {"target": "local", "input_dir": "/somewhere"}


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Scores in the thousands, where the shortest text of a float32 is off by more than 1e-6."""
    return (1000 * np.random.default_rng(3).normal(size=(12, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> pd.DataFrame:
    labels = [LABELS[number % 3] for number in range(12)]
    paths = [f"Training/{label}/{12 - number}_100.jpg" for number, label in enumerate(labels)]
    return pd.DataFrame({"path": paths, "label": labels, "split": "Training", "length": 9, "modified": 7})


@pytest.fixture(scope="module")
def components(features: np.ndarray) -> Components:
    return components_of(Moments.of(features.astype(np.float64)), k=4)


@pytest.fixture(scope="module")
def scores(spark: SparkSession, features: np.ndarray, images: pd.DataFrame, components: Components) -> DataFrame:
    rows = [(*row, vector.tolist()) for row, vector in zip(images.iloc[:, :3].itertuples(False), features, strict=True)]
    schema = "path string, label string, split string, features array<float>"
    return project(spark.createDataFrame(rows, schema).repartition(3), components)


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, scores: DataFrame, images: pd.DataFrame, components: Components
) -> Path:
    folder = tmp_path_factory.mktemp("out") / "MINI"
    lost = pd.DataFrame(
        [{"path": "Training/Kiwi/x.jpg", "label": "Kiwi", "split": "Training", "length": 0, "modified": 1}]
    )
    errors = [("Training/Kiwi/x.jpg", "decode", 'empty, "0" bytes')]
    everything = pd.concat([images, lost])
    results.save_results(folder, scores=scores, images=everything, components=components, errors=errors, owner=OWNER)
    return folder


def test_csv_is_one_sorted_file_equal_to_the_parquet(saved: Path) -> None:
    text = pd.read_csv(saved / "pca/csv/pca.csv")
    table = ds.dataset(saved / "pca/parquet").to_table().to_pandas().sort_values("path", ignore_index=True)

    assert text.columns.tolist() == ["path", "label", "split", "pc_001", "pc_002", "pc_003", "pc_004"]
    assert text["path"].tolist() == sorted(text["path"])
    assert text["label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(text.filter(like="pc_"), np.stack(table["pca"]), atol=1e-6)


def test_scores_are_those_of_the_features(saved: Path, features: np.ndarray, images: pd.DataFrame) -> None:
    text = pd.read_csv(saved / "pca/csv/pca.csv").set_index("path").loc[images["path"]]

    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(text.filter(like="pc_")), np.abs(left * values)[:, :4], rtol=1e-5, atol=1e-2)


def test_parquet_folder_is_flat_and_typed(saved: Path) -> None:
    schema = ds.dataset(saved / "pca/parquet").schema

    assert schema.names == ["path", "label", "split", "pca"]
    assert str(schema.field("pca").type.value_type) == "float"
    assert not [entry for entry in (saved / "pca/parquet").iterdir() if entry.is_dir()]


def test_model_info(saved: Path, components: Components) -> None:
    variance = pd.read_csv(saved / "model_info/variance.csv")

    assert variance["component"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(variance["cumulative"], components.shares.cumsum())
    np.testing.assert_array_equal(np.load(saved / "model_info/mean.npy"), components.mean)
    np.testing.assert_array_equal(PCAModel.load(str(saved / "model_info/pca_model")).pc.toArray(), components.vectors)


def test_metadata_and_errors_share_out_the_images(saved: Path, images: pd.DataFrame) -> None:
    metadata = pd.read_csv(saved / "metadata/metadata.csv")
    with (saved / "errors/errors.csv").open(newline="") as stream:
        errors = list(csv.reader(stream))

    assert sorted(metadata["path"]) == sorted(images["path"])
    assert set(metadata["label"]) == set(LABELS)
    assert errors == [["path", "stage", "reason"], ["Training/Kiwi/x.jpg", "decode", 'empty, "0" bytes']]


def test_everything_reads_back(spark: SparkSession, saved: Path) -> None:
    checks = results.check_results(spark, saved, features=12)

    assert checks.set_index("check")["found"]["PCAModel loaded by Spark"] == "6 x 4"
    with pytest.raises(FruitsError, match="12 Parquet rows and 12 CSV rows; 13 were written"):
        results.check_results(spark, saved, features=13)


def test_a_failure_while_saving_keeps_the_last_good_results(
    saved: Path, images: pd.DataFrame, scores: DataFrame, components: Components
) -> None:
    before = {file: file.read_bytes() for file in saved.rglob("*") if file.is_file()}

    with pytest.raises(TypeError):
        results.save_results(saved, scores=scores, images=images, components=components, errors=None, owner=OWNER)

    assert {file: file.read_bytes() for file in saved.rglob("*") if file.is_file()} == before
    assert [entry.name for entry in saved.parent.iterdir()] == ["MINI"]


@pytest.mark.parametrize(("target", "folder"), [("emr", "/somewhere"), ("local", "/elsewhere")])
def test_results_of_others_are_not_overwritten(saved: Path, target: str, folder: str) -> None:
    with pytest.raises(UsageError, match=r"holds results of target local, input /somewhere.*--replace"):
        results.check_owner(saved, target=target, input_dir=Path(folder), replace=False)
    results.check_owner(saved, target=target, input_dir=Path(folder), replace=True)


def test_own_results_and_no_results_may_be_written(saved: Path, tmp_path: Path) -> None:
    results.check_owner(saved, target="local", input_dir=Path("/somewhere"), replace=False)
    results.check_owner(tmp_path / "none", target="local", input_dir=Path("/x"), replace=False)


def test_a_folder_of_unknown_origin_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(UsageError, match="an unknown run"):
        results.check_owner(tmp_path, target="local", input_dir=Path("/x"), replace=False)


def test_listed_must_be_features_plus_errors() -> None:
    assert results.reconcile(listed=5, features=3, errors=2) == {"listed": 5, "features": 3, "errors": 2}
    with pytest.raises(FruitsError, match=r"\+1 are unaccounted for"):
        results.reconcile(listed=5, features=3, errors=1)
