"""Groups, the linear classifier and nearest neighbours, against scikit-learn or by hand; without Spark."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Array
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from fruits.moments import Moments
from fruits.params import RunParams
from fruits.pca import decompose
from fruits.quality import nearest
from fruits.quality.components import count_by_parallel_analysis
from fruits.quality.groups import add_groups, cut_folds, find_pair
from fruits.quality.probe import Basis, ClassSums, _sum_rows, fit_folds, fit_linear

FILM = RunParams.group


def list_files(*names: str, label: str = "A") -> pd.DataFrame:
    return pd.DataFrame({"path": [f"Training/{label}/{name}" for name in names], "label": label})


@pytest.mark.parametrize(
    ("name", "group", "frame"),
    [
        ("12_100.jpg", "0", 12),
        ("r_12_100.jpg", "r", 12),
        ("r2_7_100.jpg", "r2", 7),
        ("holiday.jpg", "", -1),
        ("x_12_100.jpg", "", -1),
        ("20231122334455667788_1.jpg", "0", 231122334455667788),
    ],
)
def test_the_name_of_a_file_tells_its_film_and_frame(name: str, group: str, frame: int) -> None:
    found = add_groups(list_files(name), FILM)
    assert found[["group", "frame"]].iloc[0].tolist() == [group, frame]


def test_only_the_name_counts_and_without_a_pattern_there_are_no_groups() -> None:
    images = pd.concat([list_files("r_1.jpg", label="7_8"), list_files("odd->1_5.jpg")], ignore_index=True)
    assert add_groups(images, "")["group"].tolist() == ["", ""]
    assert add_groups(images, r"(\D+)\d_(\d)")["group"].tolist() == ["", "odd->"]
    nothing = add_groups(images[:0], FILM)
    assert (nothing["frame"].dtype, nothing["group"].dtype, len(nothing)) == (np.int64, object, 0)


@pytest.mark.parametrize(
    ("groups", "pair"),
    [("", None), ("aaa", None), ("aab", ("a", "b")), ("bbaac", ("a", "b")), ("cbbcc", ("c", "b")), ("a____", None)],
)
def test_the_pair_is_the_two_largest_groups(groups: str, pair: tuple[str, str] | None) -> None:
    images = pd.DataFrame({"group": [group.replace("_", "") for group in groups]}, dtype=object)
    assert find_pair(images) == pair


def test_folds_are_groups_or_contiguous_frames_of_each_class() -> None:
    films = add_groups(list_files("1_.jpg", "r_1_.jpg", "r2_1_.jpg", "r_2_.jpg", "x.jpg", "r3_1_.jpg"), FILM)
    folds = cut_folds(films)
    assert folds[1] == folds[3]  # of one film
    assert set(folds) == {0, 1, 2, 3}  # five groups share four folds
    names = [f"{number}_100.jpg" for number in (5, 40, 3, 100, 6, 7, 99, 8)]
    images = pd.concat([list_files(*names), list_files("9_.jpg", label="B"), list_files("1_.jpg", "2_.jpg", label="C")])
    images = add_groups(images.reset_index(drop=True).sample(frac=1, random_state=1), FILM)
    folds = cut_folds(images)
    ordered = images.assign(fold=folds).sort_values(["label", "frame"])
    assert ordered["fold"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 2]


def draw_classes(sizes: list[int], *, features: int = 6) -> tuple[Array, Array]:
    """Draw correlated classes that overlap."""
    random = np.random.default_rng(5)
    mixing = random.normal(size=(features, features))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = random.normal(size=(len(labels), features)) @ mixing + 2 * random.normal(size=(len(sizes), features))[labels]
    order = random.permutation(len(labels))
    return rows[order], labels[order]


@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("k", [2, 6])
def test_the_linear_classifier_is_scikit_learns(k: int, shrinkage: float) -> None:
    random = np.random.default_rng(6)
    rows, labels = draw_classes([5, 80, 31, 12])
    unseen = random.normal(size=(500, 6)) * 4
    right = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(rows[:, :k], labels)

    found = fit_linear(_sum_rows(rows, labels, 4), k=k, shrinkage=shrinkage)

    np.testing.assert_allclose(found.weights.T, right.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.predict(unseen.astype(np.float32)), right.predict(unseen[:, :k]))
    assert len(set(found.predict(unseen.astype(np.float32)))) > 2


def test_a_fold_is_judged_by_the_others_and_a_class_they_lack_is_not_predicted() -> None:
    rows, labels = draw_classes([30, 30, 30])
    fold = np.where(labels == 2, "b", np.where(np.arange(90) % 3, "a", "b"))  # class 2 is in fold b alone
    folds = {name: _sum_rows(rows[fold == name], labels[fold == name], 3) for name in "ab"}

    judge_of_b = fit_folds(folds, k=6)["b"][1]

    right = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(rows[fold == "a"], labels[fold == "a"])
    np.testing.assert_array_equal(judge_of_b.predict(rows.astype(np.float32)), right.predict(rows))


def test_equal_images_in_each_class_can_be_classified() -> None:
    rows, labels = np.repeat(np.eye(3), 4, axis=0), np.repeat(np.arange(3), 4)
    sums = _sum_rows(rows, labels, 3)
    assert isinstance(sums, ClassSums)
    found = fit_linear(sums, k=3, shrinkage=0.01)
    assert found.predict(rows.astype(np.float32)).tolist() == labels.tolist()


def cut(rows: Array, size: int) -> list[Array]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_nearest_neighbours_are_scikit_learns_for_each_k() -> None:
    random = np.random.default_rng(6)
    known, queries = random.normal(size=(1000, 9)).astype(np.float32), random.normal(size=(600, 9)).astype(np.float32)
    found = nearest._find_nearest(queries, cut(known, 300), (2, 5, 9))
    for step, k in enumerate((2, 5, 9)):
        right = NearestNeighbors(n_neighbors=1).fit(known[:, :k]).kneighbors(queries[:, :k], return_distance=False)
        np.testing.assert_array_equal(found[:, step], right[:, 0])


def test_neighbours_are_scikit_learns_without_the_image_itself_and_of_other_groups() -> None:
    random = np.random.default_rng(6)
    rows, groups = random.normal(size=(700, 5)).astype(np.float32), random.integers(0, 3, 700)
    own = np.arange(100, 700)
    near, gaps, other, far = nearest._find_around(rows[own], own, cut(rows, 256), groups, 4)
    right_gaps, right = NearestNeighbors(n_neighbors=5).fit(rows).kneighbors(rows[own])
    np.testing.assert_array_equal(near, right[:, 1:])
    np.testing.assert_allclose(gaps, right_gaps[:, 1:], rtol=1e-3)
    for group in range(3):
        some, others = own[groups[own] == group], np.flatnonzero(groups != group)
        right_gaps, right = NearestNeighbors(n_neighbors=4).fit(rows[others]).kneighbors(rows[some])
        np.testing.assert_array_equal(other[some - 100], others[right])
        np.testing.assert_allclose(far[some - 100], right_gaps, rtol=1e-3)


def test_where_there_are_fewer_images_than_neighbours_the_rest_is_marked() -> None:
    rows = np.array([[0, 0], [1, 0], [3, 0]], np.float32)
    near, gaps, other, _ = nearest._find_around(rows, np.arange(3), [rows[:2], rows[2:]], np.array([0, 0, 1]), 5)
    assert near.tolist() == [[1, 2, -1, -1, -1], [0, 2, -1, -1, -1], [1, 0, -1, -1, -1]]
    assert gaps[0].tolist() == [1, 3, np.inf, np.inf, np.inf]
    assert other.tolist() == [[2, -1, -1, -1, -1], [2, -1, -1, -1, -1], [1, 0, -1, -1, -1]]


def test_images_of_some_blocks_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "QUERIES", 5)
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    table = pa.table({"features": [*rows]})
    basis = Basis.of(np.array([1.0, 1.0]), np.array([[0.0, 1.0]]))
    found = list(nearest._gather(table.to_batches(max_chunksize=3), basis))
    assert [part[:, 0].tolist() for part in found] == [[0, 2, 4, 6, 8, 10], [12]]


@pytest.mark.parametrize(("count", "features"), [(60, 90), (900, 30)])
def test_components_above_chance_are_those_that_three_causes_make(count: int, features: int) -> None:
    random = np.random.default_rng(3)
    noise = random.normal(size=(count, features)) * random.uniform(0.5, 2, features)
    causes = random.normal(size=(count, 3)) @ random.normal(size=(3, features)) * 4
    for rows, known in ((noise, 0), (noise + causes, 3)):
        pca = decompose(Moments.of(rows), k=2)
        assert count_by_parallel_analysis(pca, seed=1) == known
    assert count_by_parallel_analysis(replace(pca, rotation=None), seed=1) is None
