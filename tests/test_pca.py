"""PCA against answers anyone can compute, against scikit-learn and against Spark's own."""

import functools
import operator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Array
from pyspark.ml import feature
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from sklearn import decomposition

from fruits.errors import FruitsError, UsageError
from fruits.features.store import StoredFeatures, cut_blocks
from fruits.moments import Moments, read_features
from fruits.pca import count_components, decompose, fit_pca, format_share, format_target

RECTANGLE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [4.0, 2.0]])


@pytest.fixture(scope="module")
def cloud() -> Array:
    """200 points whose variances fall off, far from the origin, so that centring matters."""
    rng = np.random.default_rng(5)
    points = rng.normal(size=(200, 12)) * np.linspace(5, 0.5, 12) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    return np.asarray(points + 100, np.float32)


def to_frame(spark: SparkSession, rows: Array, *, partitions: int = 3) -> DataFrame:
    table = [(f"{number:04d}.jpg", "Kiwi", "Training", row.tolist()) for number, row in enumerate(rows)]
    schema = "path string, label string, split string, features array<float>"
    return spark.createDataFrame(table, schema).repartition(partitions, "path")


def test_corners_of_a_rectangle() -> None:
    pca = decompose(Moments.of(RECTANGLE), k=2)

    np.testing.assert_allclose(pca.explained_variance_ratio, [0.8, 0.2], atol=1e-15)
    np.testing.assert_allclose(pca.mean, [2, 1])
    np.testing.assert_allclose(pca.components, np.eye(2), atol=1e-15)


def test_merged_moments_are_those_of_the_whole() -> None:
    rows = np.random.default_rng(0).normal(1e6, 1, (50, 4))

    merged = Moments.of(rows[:7]) + Moments.of(rows[7:20]) + Moments.of(rows[20:])

    whole = Moments.of(rows)
    assert merged.count == 50
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-8)


@pytest.mark.parametrize("partitions", [1, 20])
def test_agrees_with_scikit_learn(spark: SparkSession, cloud: Array, partitions: int) -> None:
    pca = fit_pca(to_frame(spark, cloud, partitions=partitions), k=5)

    other = decomposition.PCA(5).fit(cloud.astype(np.float64))
    np.testing.assert_allclose(pca.explained_variance_ratio, other.explained_variance_ratio_, atol=1e-8)
    np.testing.assert_allclose(np.abs(pca.components), np.abs(other.components_), atol=1e-8)
    np.testing.assert_allclose(pca.mean, other.mean_, rtol=1e-12)


def test_agrees_with_spark(spark: SparkSession, cloud: Array) -> None:
    frame = to_frame(spark, cloud)

    pca = fit_pca(frame, k=5)

    vectors = frame.select(array_to_vector(frame["features"]).alias("features"))
    other = feature.PCA(k=5, inputCol="features", outputCol="pca").fit(vectors)
    np.testing.assert_allclose(pca.explained_variance_ratio, other.explainedVariance.toArray(), atol=1e-8)
    np.testing.assert_allclose(np.abs(pca.components), np.abs(other.pc.toArray().T), atol=1e-8)


def test_scores_are_centred_and_equal_scikit_learn(spark: SparkSession, cloud: Array) -> None:
    frame = to_frame(spark, cloud)

    rows = fit_pca(frame, k=4).transform(frame).orderBy("path").collect()

    scores = np.array([row["pca"] for row in rows])
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(fit_pca(frame, k=4).transform(cloud.astype(np.float64)), scores.astype(np.float32))
    other = decomposition.PCA(4).fit_transform(cloud.astype(np.float64))
    np.testing.assert_allclose(np.abs(scores), np.abs(other), atol=1e-4)
    assert [row["path"] for row in rows] == [f"{number:04d}.jpg" for number in range(200)]


def test_columns_that_are_not_there_are_not_made(spark: SparkSession, cloud: Array) -> None:
    frame = to_frame(spark, cloud)
    pca = fit_pca(frame, k=2)

    doubles = frame.selectExpr("cast(features as array<double>) features", "7 label", "1 other")

    assert pca.transform(frame.select("features")).dtypes == [("pca", "array<float>")]
    assert pca.transform(doubles).dtypes == [("label", "string"), ("pca", "array<float>")]
    scores, same = (pca.transform(rows).orderBy("pca").collect() for rows in (frame, doubles))
    assert [row["pca"] for row in scores] == [row["pca"] for row in same]
    assert {row["label"] for row in same} == {"7"}


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("features[0] first", r"^there is no column `features` among first; name it so\.$"),
        ("features[0] features", r"^column `features` is of type float; it must be array<float> or array<double>\.$"),
        (
            "slice(features, 1, 3) features",
            r"^features of length 3 do not go with features of length 12; use one model",
        ),
    ],
)
def test_other_columns_than_features_are_refused(spark: SparkSession, cloud: Array, column: str, said: str) -> None:
    frame = to_frame(spark, cloud)
    with pytest.raises(FruitsError, match=said):
        fit_pca(frame, k=2).transform(frame.selectExpr(column))
    with pytest.raises(UsageError, match=r"^features is a pandas\.DataFrame; it must be a Spark DataFrame"):
        fit_pca(frame.toPandas())
    with pytest.raises(UsageError, match=r"^k is 0; it must be an integer of 1 or more\.$"):
        fit_pca(frame, k=0)


def test_features_of_another_model_are_refused_if_the_models_are_known(spark: SparkSession, cloud: Array) -> None:
    frame = to_frame(spark, cloud)
    ours, other = (frame.withMetadata("features", {"model_id": name}) for name in ("ours", "other"))
    pca = fit_pca(ours, k=2)
    assert pca.transform(ours).count() == pca.transform(frame).count() == fit_pca(frame, k=2).transform(ours).count()
    with pytest.raises(UsageError, match=r"features are of the model other, the PCA is of ours; compute them"):
        pca.transform(other)
    with pytest.raises(FruitsError, match=r"^features of length 3 do not go with features of length 12; use one model"):
        pca.transform(cloud[:, :3])
    with pytest.raises(UsageError, match=r"features is an array of shape \(12,\); it must be \(n, 12\)"):
        pca.transform(cloud[0])
    with pytest.raises(UsageError, match=r"features is a builtins\.list; it must be a Spark DataFrame"):
        pca.transform(cloud.tolist())


def test_rows_of_other_lengths_and_null_are_refused(spark: SparkSession) -> None:
    other, null = (
        "features of length [12] do not go with features of length [21]",
        "^column features holds null; remove",
    )
    for rows, said in (([[1.0, 2.0], [1.0]], other), ([[1.0], None], null), ([[1.0], [None]], null)):
        batch = pa.RecordBatch.from_arrays([pa.array(rows, pa.list_(pa.float32()))], ["features"])
        with pytest.raises(FruitsError, match=said):
            read_features(batch)
    for rows, tasks, said in (([[1.0, 2.0], [1.0]], 2, other), ([[1.0], None], 1, "^the PCA failed: column features")):
        frame = spark.createDataFrame([(row,) for row in rows], "features array<float>").coalesce(tasks)
        with pytest.raises(FruitsError, match=said):
            fit_pca(frame, k=1)


def test_signs_do_not_depend_on_the_order_of_rows(spark: SparkSession, cloud: Array) -> None:
    first = fit_pca(to_frame(spark, cloud), k=6)
    second = fit_pca(to_frame(spark, cloud[::-1], partitions=2), k=6)

    np.testing.assert_allclose(first.components, second.components, atol=1e-9)
    assert (first.components.max(axis=1) == np.abs(first.components).max(axis=1)).all()


def test_k_is_bounded_by_the_rank_and_says_so() -> None:
    rows = np.random.default_rng(0).normal(size=(10, 30))

    pca = decompose(Moments.of(rows), k=20)

    assert pca.n_components == 9
    assert pca.requested == 20
    assert "20 were asked for" in pca.describe(0.5)
    assert pca.cumulative_variance_ratio[-1] == pytest.approx(1, abs=1e-12)
    one = decompose(Moments.of(RECTANGLE), k=1)
    assert one.cumulative_variance_ratio[-1] == pytest.approx(0.8)  # of the total variance
    assert one.describe(0.95).endswith("not reached with 1; it would take 2.")
    assert one.describe(0.8) == "1 components keep 80.0% of the total variance. The target of 80% is reached with 1."


@pytest.mark.parametrize(("target", "expected"), [(0.5, 1), (0.6, 1), (0.61, 2), (0.9, 2), (0.91, None), (1.0, None)])
def test_components_for_a_target(target: float, expected: int | None) -> None:
    assert count_components(np.array([0.6, 0.9]), target) == expected


def test_a_target_of_everything_is_reached_in_spite_of_rounding() -> None:
    assert count_components(np.cumsum(np.full(10, 0.1)), 1.0) == 10


@pytest.mark.parametrize(
    ("share", "said"), [(0.9999, "99.9%"), (0.95, "95.0%"), (0.9496, "94.9%"), (1 - 1e-14, "100.0%"), (0.07, "7.0%")]
)
def test_a_share_is_cut_off_and_not_rounded(share: float, said: str) -> None:
    assert format_share(share) == said


@pytest.mark.parametrize(
    ("target", "said"), [(0.95, "95%"), (0.999, "99.9%"), (0.99999999999, "99.999999999%"), (1, "100%"), (0.1, "10%")]
)
def test_a_target_has_all_its_digits(target: float, said: str) -> None:
    assert format_target(target) == said


# A sum of seven equal numbers divided by seven must be the number, whatever its digits.
SAME = np.tile(np.random.default_rng(7).exponential(size=200).astype(np.float32), (7, 1))
HOPELESS = {
    "no image": (np.empty((0, 3)), r"^PCA needs at least 2 images, got 0; see errors.csv and the selection"),
    "one image": (np.ones((1, 3)), r"^PCA needs at least 2 images, got 1; take more \(classes, max_images\)\.$"),
    "four alike": (np.full((4, 3), 0.1), r"^PCA of 4 images without any variance: all features are the same\.$"),
    "seven alike": (SAME, r"^PCA of 7 images without any variance"),
    "rounded": (np.full((7, 3), 0.9637), r"^PCA of 7 images without any variance"),
    "all zero": (np.zeros((5, 3)), r"^PCA of 5 images without any variance"),
    "NaN": (np.array([[1.0, np.nan], [0.0, 1.0]]), "^PCA got features that are NaN or infinite; compute them anew"),
    "infinite": (np.array([[1.0, np.inf], [0.0, np.inf], [0.0, 1.0]]), "^PCA got features that are NaN or infinite"),
    "both infinite": (np.array([[-np.inf, 1.0], [np.inf, 1.0]]), "^PCA got features that are NaN or infinite"),
}


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("name", [*HOPELESS][1:])
def test_what_has_no_components_is_refused(name: str, parts: int) -> None:
    rows, sentence = HOPELESS[name]
    pieces = (Moments.of(piece) for piece in np.array_split(rows.astype(np.float64), parts) if len(piece))
    merged = functools.reduce(operator.add, pieces)
    with pytest.raises(FruitsError, match=sentence):
        decompose(merged, k=2)


@pytest.mark.parametrize("name", ["no image", "seven alike", "both infinite"])
def test_features_of_spark_and_stored_ones_without_components_are_refused(
    spark: SparkSession, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, sentence = HOPELESS[name]
    with pytest.raises(FruitsError, match=sentence):
        fit_pca(to_frame(spark, rows), k=2)
    monkeypatch.setattr("fruits.features.store.BLOCK", 2)
    texts = {name: [f"{number}.jpg" for number in range(len(rows))] for name in ("path", "label", "split")}
    features = pa.array(rows.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({**texts, "features": features}), tmp_path / "features.parquet")
    places = pd.DataFrame({**texts, "file": str(tmp_path / "features.parquet"), "row": range(len(rows))})
    with pytest.raises(FruitsError, match=sentence):
        fit_pca(StoredFeatures(sparkSession=spark, blocks=cut_blocks(places)), k=2)
