"""The evaluation of a run on Spark, against a second implementation on the driver by scikit-learn."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Array
from pyspark.sql import SparkSession
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from fruits.features.batches import write_batch
from fruits.features.extraction import Computation
from fruits.features.store import read_features
from fruits.images.rows import STORED, ErrorRow, spark_schema
from fruits.ownership import RESULTS
from fruits.params import RunParams
from fruits.pca import fit_pca
from fruits.quality.evaluation import Quality, evaluate_quality
from fruits.quality.probe import SHRINKAGES
from fruits.quality.sentences import describe_quality

LABELS, FRAMES, WIDTH = ("A->B", "Pêche", "kiwi 1", "kiwi 2", "é'\"", "x"), 84, 40
KS = {"2": 2, "5": 5, "10": 10, "20": 20, "all": WIDTH}

Evaluate = Callable[..., Quality]


class Dataset:
    """1,008 images: two films of each class, of which the last frames are Test, with features that overlap."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        rows, features = [], []
        for label in LABELS:
            centre = random.normal(size=WIDTH) * 0.7
            for film in ("", "r_"):
                here, way = centre + random.normal(size=WIDTH) * 0.5, random.normal(size=(2, WIDTH))
                for frame in range(FRAMES):
                    split = "Training" if frame < 60 else "Test"
                    turn = np.array([np.sin(frame / 13), np.cos(frame / 13)])
                    rows.append((f"{split}/{label}/{film}{frame}_100.jpg", label, split, film[:1] or "0", frame))
                    features.append(here + turn @ way + random.normal(size=WIDTH) * 1.1)
        images = pd.DataFrame(rows, columns=["path", "label", "split", "film", "frame"])
        images = images.assign(length=7, modified=0, digest=[f"{n:064x}" for n in range(len(images))])
        order = images["path"].argsort()
        self.images = images.iloc[order].reset_index(drop=True)
        self.features = np.array(features, np.float32)[order]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset()


@pytest.fixture(scope="module")
def store(spark: SparkSession, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "model"
    rows = dataset.images.assign(etag="", features=[*dataset.features])
    # In S3 an image is known by its tag.
    rows.loc[5, "etag"] = dataset.images.loc[5, "digest"] = "tag:5-7"
    mixed = rows[[*STORED]].sample(frac=1, random_state=1)
    write_batch(spark.createDataFrame(mixed, spark_schema(STORED)), iter, store=folder)
    return folder


@pytest.fixture(scope="module")
def evaluate(spark: SparkSession, store: Path) -> Evaluate:
    def run(
        images: pd.DataFrame, tests: pd.DataFrame, *, group: str = RunParams.group, errors: Sequence[ErrorRow] = ()
    ) -> Quality:
        pca = fit_pca(read_features(spark, images, store=store), k=20)
        return evaluate_quality(spark, images, Computation(tests, 0, [*errors]), pca=pca, store=store, group=group)

    return run


def split(images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = images.drop(columns=["film", "frame"])
    return tuple(images[images["split"] == name].reset_index(drop=True) for name in ("Training", "Test"))


@pytest.fixture(scope="module")
def quality(evaluate: Evaluate, dataset: Dataset) -> Quality:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fruits.features.store.BLOCK", 150)
        return evaluate(*split(dataset.images))


def tell(quality: Quality) -> dict[str, Any]:
    told = quality.describe()
    assert told is not None
    return told


class Judge:
    """A trial by scikit-learn: PCA, 1-nearest neighbour and LDA, whose shrinkage is chosen on folds."""

    def __init__(self, dataset: Dataset, train: pd.Series, test: pd.Series, folds: pd.Series) -> None:
        self.labels, self.features = dataset.images["label"].to_numpy(), dataset.features.astype(float)
        self.train, self.test, self.folds = train, test, np.asarray(folds)[train]

    def project(self, k: int) -> tuple[Array, Array]:
        if k == WIDTH:
            return self.features[self.train], self.features[self.test]
        pca = PCA(k, svd_solver="full").fit(self.features[self.train])
        return pca.transform(self.features[self.train]), pca.transform(self.features[self.test])

    def find_nearest(self, k: int) -> Array:
        rows, unseen = self.project(k)
        return np.asarray(KNeighborsClassifier(1).fit(rows, self.labels[self.train]).predict(unseen))

    def find_linear(self, k: int) -> Array:
        rows, unseen = self.project(k)
        labels = self.labels[self.train]
        classifiers = [LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share) for share in SHRINKAGES]
        right = [
            sum(
                (
                    one.fit(rows[self.folds != fold], labels[self.folds != fold]).predict(rows[here]) == labels[here]
                ).sum()
                for fold in set(self.folds)
                for here in [self.folds == fold]
            )
            for one in classifiers
        ]
        return np.asarray(classifiers[int(np.argmax(right))].fit(rows, labels).predict(unseen))


@pytest.fixture(scope="module")
def judges(dataset: Dataset) -> dict[str, Judge]:
    films, frames = dataset.images["film"], dataset.images["frame"]
    training, films_0, films_r = dataset.images["split"] == "Training", films == "0", films == "r"
    return {
        "official": Judge(dataset, training, ~training, films),
        "0->r": Judge(dataset, films_0, films_r, frames // 21),
        "r->0": Judge(dataset, films_r, films_0, frames // 21),
    }


def test_accuracies_are_those_of_scikit_learn_on_the_driver(quality: Quality, judges: dict[str, Judge]) -> None:
    table = quality.accuracies.set_index(["split", "k", "classifier"])
    assert [*dict.fromkeys(table.index.get_level_values("split"))] == [*judges]
    for (name, k, classifier), row in table.iterrows():
        judge = judges[name]
        predicted = judge.find_nearest(KS[k]) if classifier == "nn1" else judge.find_linear(KS[k])
        right = (predicted == judge.labels[judge.test]).mean()
        assert row["accuracy"] == pytest.approx(right, abs=1e-3), (name, k, classifier)
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert (row["train"], row["test"]) == (judge.train.sum(), judge.test.sum())
    assert len(table) == 3 * len(KS) * 2
    assert table["accuracy"].between(0.2, 0.995).all()  # some are right and some wrong


def test_the_manifest_tells_what_the_tables_tell(quality: Quality, judges: dict[str, Judge], dataset: Dataset) -> None:
    told = tell(quality)
    assert told["official"]["accuracy"]["all"]["nn1"] == pytest.approx(quality.accuracies["accuracy"][8], abs=1e-6)
    assert [*told["by_group"]] == ["0->r", "r->0"]
    assert [*told["by_group"]["0->r"]["accuracy"]] == [*told["official"]["interval"]] == [*KS]
    assert (told["official"]["train"], told["official"]["test"], told["official"]["features"]) == (720, 288, WIDTH)
    judge = judges["official"]
    nearest = NearestNeighbors(n_neighbors=1).fit(judge.features[judge.train])
    found = nearest.kneighbors(judge.features[judge.test], return_distance=False)[:, 0]
    keys = (dataset.images["film"] + dataset.images["label"]).to_numpy()
    assert told["nearest_in_same_group"] == pytest.approx(
        (keys[judge.train][found] == keys[judge.test]).mean(), abs=1e-3
    )
    assert told["components_within_one_point"]["by_group"] in KS.values()


def test_confusions_and_rates_are_those_of_scikit_learn(quality: Quality, judges: dict[str, Judge]) -> None:
    mistakes: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for name in ("0->r", "r->0"):
        judge = judges[name]
        for label, predicted in zip(judge.labels[judge.test], judge.find_nearest(20), strict=True):
            (mistakes if label != predicted else right)[label, predicted] += 1
    table = quality.tables["model_info/confusions.csv"]
    assert {(row.label, row.predicted): row.images for row in table.itertuples()} == mistakes
    assert table["images"].is_monotonic_decreasing
    rated = quality.rate_classes()["by_group"]
    assert rated.to_dict() == pytest.approx({label: right[label, label] / (2 * FRAMES) for label in LABELS})


def test_neighbours_of_all_images_are_those_of_scikit_learn(quality: Quality, dataset: Dataset) -> None:
    around = quality.around
    assert around is not None
    assert around.images["path"].tolist() == dataset.images["path"].tolist()
    training = dataset.images["split"] == "Training"
    scores = PCA(20, svd_solver="full").fit(dataset.features[training]).transform(dataset.features)
    np.testing.assert_allclose(np.abs(around.scores), np.abs(scores), atol=1e-3)
    gaps, rows = NearestNeighbors(n_neighbors=6).fit(scores).kneighbors(scores)
    np.testing.assert_array_equal(around.nearest.rows, rows[:, 1:])
    np.testing.assert_allclose(around.nearest.distances, gaps[:, 1:], rtol=1e-3)
    films = dataset.images["film"].to_numpy()
    for film, other in (("0", "r"), ("r", "0")):
        others = np.flatnonzero(films == other)
        rows = NearestNeighbors(n_neighbors=5).fit(scores[others]).kneighbors(scores[films == film])[1]
        np.testing.assert_array_equal(around.other.rows[films == film], others[rows])
    points = quality.list_points(embedded=False)
    assert points["right"].notna().all()
    assert points["suspect"].sum() == len(quality.tables["model_info/suspects.csv"]) > 0


def thin(dataset: Dataset, *, labels: Sequence[str] = LABELS, every: int = 7) -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(dataset.images[dataset.images["label"].isin(labels) & (dataset.images["frame"] % every == 0)])


def test_one_class_is_only_looked_around_in(evaluate: Evaluate, dataset: Dataset) -> None:
    lost = [ErrorRow("Test/x/9_100.jpg", "decode", "cut off")]
    quality = evaluate(*thin(dataset, labels=["x"]), errors=lost)
    said = describe_quality(quality)
    for name in ("official", "0->r", "r->0"):
        assert f"- {name}: not evaluated; it needs two classes or more" in said
    assert "1 images to test on could not be read" in said
    told = tell(quality)
    assert (told["official"], told["by_group"], told["nearest_in_same_group"]) == (None, None, None)
    assert set(told["components_within_one_point"].values()) == {None}
    assert quality.tables["errors/quality_errors.csv"].to_numpy().tolist() == [list(lost[0])]
    # A run that is killed while it copies them to S3 leaves them without its marker.
    assert all(RESULTS.unlisted.fullmatch(name) for name in quality.tables)
    assert quality.rate_classes().empty
    assert quality.list_points(embedded=False)["right"].isna().all()


def test_without_groups_only_the_official_split_is_tested(evaluate: Evaluate, dataset: Dataset) -> None:
    quality = evaluate(*thin(dataset), group="")
    assert [trial.name for trial in quality.trials] == ["official"]
    assert tell(quality)["by_group"] is None
    assert tell(quality)["nearest_in_same_group"] is None
    assert "- By group: not evaluated; the parameter `group` finds fewer than two groups" in describe_quality(quality)
    assert [len(quality.tables[f"model_info/{name}.csv"]) for name in ("confusions", "suspects")] == [0, 0]


def test_without_another_split_groups_are_tested_and_equal_images_are_not_trained_on(
    evaluate: Evaluate, dataset: Dataset
) -> None:
    images, tests = thin(dataset)
    film = images["path"].str.contains("/r_")
    images.loc[film, "digest"] = images.loc[film, "digest"].iloc[0]
    quality = evaluate(images, tests[:0])
    assert [trial.name for trial in quality.trials] == ["0->r"]
    assert quality.accuracies["accuracy"].iloc[-1] == pytest.approx(1 / len(LABELS))  # all are taken for one class
    assert f"r->0: not evaluated; PCA of {film.sum()} images without any variance" in describe_quality(quality)
    exact = quality.tables["model_info/duplicates.csv"]["kind"] == "exact"
    assert exact.sum() == film.sum() - 1


def test_four_images_are_enough(evaluate: Evaluate, dataset: Dataset) -> None:
    images, _ = split(dataset.images.query("frame == 0 and label in ('x', 'Pêche')"))
    quality = evaluate(images[:3], images[3:])
    assert [(trial.name, trial.ks) for trial in quality.trials] == [
        (name, ("all",)) for name in ("official", "0->r", "r->0")
    ]
    assert quality.accuracies["accuracy"].between(0, 1).all()
