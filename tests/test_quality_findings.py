"""Which images are tested, and what is told of trials and neighbours, with answers known by hand; without Spark."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from conftest import put

from fruits.errors import UsageError
from fruits.images import open_images
from fruits.pca import PCA
from fruits.quality import nearest
from fruits.quality.components import find_components
from fruits.quality.evaluation import Quality, _plan_trials, evaluate_quality, select_tests
from fruits.quality.findings import Surroundings
from fruits.quality.nearest import Neighbours
from fruits.quality.sentences import describe_quality
from fruits.quality.trial import Trial, count_confusions


def make_trial(
    test: Sequence[tuple[str, str]],
    nn1: Sequence[Sequence[str]],
    *,
    name: str = "0->r",
    ks: tuple[str, ...] = ("2", "all"),
    linear: Sequence[Sequence[str]] | None = None,
) -> Trial:
    """Make a trial of images (label, group), trained on one image of each class A, B, C."""
    images = pd.DataFrame(test, columns=["label", "group"])
    images.insert(0, "path", [f"Test/{number}.jpg" for number in range(len(images))])
    train = pd.DataFrame({"path": [f"Training/{label}.jpg" for label in "ABC"], "label": [*"ABC"], "group": "0"})
    guesses = np.array([*map(list, nn1)], object)
    places = np.array([["ABC".index(label) for label in row] for row in nn1])
    predicted = {"nn1": guesses, "linear": guesses if linear is None else np.array([*map(list, linear)], object)}
    return Trial(name=name, train=train, test=images, ks=ks, predicted=predicted, nearest=places)


def test_intervals_are_of_classes_and_groups_not_of_images() -> None:
    half = make_trial([("A", "0")] * 100 + [("B", "0")] * 100, ["AA"] * 200).tabulate(seed=1)
    assert half[["accuracy", "low", "high"]].iloc[0].tolist() == [0.5, 0, 1]  # 200 images would say 0.43 to 0.57
    groups = [("A", "0"), ("A", "r")] * 50
    films = make_trial(groups, ["AB", "BB"] * 50).tabulate(seed=1)
    assert films[["k", "accuracy", "low", "high"]].iloc[[0, 2]].to_numpy().tolist() == [
        ["2", 0.5, 0, 1],
        ["all", 0, 0, 0],
    ]
    even = make_trial([("A", "0"), ("A", "0"), ("B", "0"), ("B", "0")], ["AA", "BB", "BB", "AA"]).tabulate(seed=1)
    assert even[["low", "high"]].to_numpy().tolist() == [[0.5, 0.5]] * 4
    assert even[["split", "train", "test"]].iloc[0].tolist() == ["0->r", 3, 4]


@pytest.mark.parametrize(
    ("right", "k"),
    [
        ([[90, 93, 92, 93]], 5),
        ([[93, 93, 92, 93]], 2),
        ([[91, 93, 92, 93]], 5),
        ([[50, 60, 70, 80]], 1280),
        ([[90, 90, 99, 99], [90, 99, 90, 90]], 5),
        ([[6, 7, 7, 7]], 2),  # one point, which is more than 0.01 by a rounding error
        ([], None),
    ],
)
def test_enough_components_are_within_one_point_of_the_best(right: list[list[int]], k: int | None) -> None:
    trials = [
        make_trial([("A", "0")] * 100, [["A" if row < count else "B" for count in counts] for row in range(100)],
                   ks=("2", "5", "10", "all"))
        for counts in right
    ]  # fmt: skip
    assert find_components(trials, features=1280) == k


def test_confusions_are_counted_over_both_directions() -> None:
    images = [("A", "0"), ("A", "0"), ("B", "0"), ("C", "0")]
    there = make_trial(images, ["BB", "BB", "BB", "AC"])
    back = make_trial(images, ["BA", "AA", "BB", "CC"], name="r->0")
    table = count_confusions([there, back])
    assert table.drop(columns=["path", "nearest"]).to_numpy().tolist() == [["A", "B", 3, 0.75], ["C", "A", 1, 0.5]]
    assert table[["path", "nearest"]].iloc[0].tolist() == ["Test/0.jpg", "Training/B.jpg"]
    assert count_confusions([make_trial([("A", "0")], ["AA"])]).empty
    assert list(count_confusions([]).columns) == list(table.columns)


def surround(
    labels: Sequence[str],
    digests: Iterable[str],
    scores: Sequence[Any],
    *,
    groups: Iterable[str] | None = None,
    splits: Sequence[str] | None = None,
) -> Surroundings:
    count = len(labels)
    images = pd.DataFrame({"path": [f"{n}.jpg" for n in range(count)], "label": [*labels], "digest": [*digests]})
    images = images.assign(split=splits or "Training", group=[*(groups or "0" * count)], frame=range(count))
    rows = np.array(scores, np.float32).reshape(count, -1)
    codes = images["group"].astype("category").cat.codes.to_numpy(np.int64)
    parts = nearest._find_around(rows, np.arange(count), [rows], codes, 5)
    return Surroundings(images=images, scores=rows, nearest=Neighbours(*parts[:2]), other=Neighbours(*parts[2:]))


def test_queries_stand_before_their_four_nearest_of_other_groups() -> None:
    around = surround("A" * 12, [*"abcdefghijkl"], [n + n * n / 100 for n in range(12)], groups="0r" * 6)
    assert around.list_queries(1)["path"].tolist() == [f"{row}.jpg" for row in (5, 4, 6, 2, 8)]
    alone = surround("A" * 6, [*"abcdef"], [n + n * n / 100 for n in range(6)])
    assert alone.list_queries(1)["path"].tolist() == [f"{row}.jpg" for row in (2, 1, 3, 0, 4)]
    assert surround("AB", [*"ab"], [0, 1]).list_queries().empty


def test_suspects_are_images_whose_five_neighbours_of_other_groups_agree_on_another_class() -> None:
    five = [0.1, 0.2, 0.3, 0.4, 0.5]
    around = surround("B" + "AAAAA" + "A" + "B", [*"abcdefgh"], [0, *five, -0.1, 9], groups="0" + "rrrrr" + "00")
    assert around.list_suspects().to_numpy().tolist() == [
        ["0.jpg", "B", "Training", "0", "A", "1.jpg", pytest.approx(0.1)],
        ["7.jpg", "B", "Training", "0", "A", "5.jpg", pytest.approx(8.5)],
    ]
    assert surround("BAAAA", [*"abcde"], five, groups="0rrrr").list_suspects().empty  # four are too few
    assert surround("BAAAABA", [*"abcdefg"], [0, *five, 9], groups="0rrrrrr").list_suspects().empty  # they disagree
    assert around.list_points().query("suspect")["path"].tolist() == ["0.jpg", "7.jpg"]
    assert surround("BAAAAA", [*"abcdef"], [0, *five]).list_suspects().empty  # there is one group


def test_duplicates_are_exact_by_content_and_near_by_distance() -> None:
    splits = ["Training", "Test", "Training", "Test", "Training", "Training"]
    digests = ["x", "tag:y-7", "x", "z", "tag:y-7", "w"]
    around = surround("AABBAC", digests, [[0, 0], [5, 0], [0, 0], [10, 0], [5, 0.01], [10, 0.01]], splits=splits)
    table = around.list_duplicates()
    assert table[["kind", "path", "other_path", "split", "other_split"]].to_numpy().tolist() == [
        ["exact", "2.jpg", "0.jpg", "Training", "Training"],
        ["exact", "4.jpg", "1.jpg", "Training", "Test"],
    ]
    assert table["distance"].tolist() == pytest.approx([0, 0.01])
    spread = surround("ABCDE", [*"abcde"], [[0, 0], [0, 0.01], [3, 0], [6, 0], [9, 0]])
    near = spread.list_duplicates()[["kind", "path", "label", "other_path", "other_label"]]
    assert near.to_numpy().tolist() == [["near", "0.jpg", "A", "1.jpg", "B"]]
    assert surround("AB", "ab", [0, 1]).list_duplicates().empty


def test_points_say_what_is_known_and_have_two_coordinates() -> None:
    around = surround("ABC", "abc", [[1], [2], [4]])
    points = around.list_points(pd.Series({"1.jpg": False, "2.jpg": True}))
    assert points[["x", "y"]].to_numpy().tolist() == [[1, 0], [2, 0], [4, 0]]
    assert points["right"].tolist() == [pd.NA, False, True]
    assert points["neighbours"].tolist() == [[1, 2], [0, 2], [1, 0]]
    assert around.list_points()["right"].isna().all()


def test_what_single_images_and_classes_are_rated_by() -> None:
    trial = make_trial([("A", "0"), ("A", "0"), ("B", "")], ["AAB", "AAA", "BBB"], ks=("2", "50", "100"))
    assert trial.shown_k == "50"
    assert make_trial([("A", "0")], ["A"], ks=("all",)).shown_k == "all"
    official = make_trial([("A", "0"), ("C", "0")], ["AA", "AA"], name="official")
    by_group = make_trial([("A", "0"), ("A", "r")], ["AA", "BB"])
    around = surround("ABCDA", "vwxyv", [0, 1, 2, 3, 0.001], splits=["Training"] * 4 + ["Test"])
    pca = PCA(mean=np.zeros(9), components=np.eye(2, 9), spectrum=np.zeros(2), requested=2)
    quality = Quality(trials=[official, by_group], around=around, pca=pca)
    rated = quality.rate_classes()
    assert rated.loc["A"].tolist() == [1, 0.5]
    assert rated.loc["C", "official"] == 0
    assert np.isnan(rated.loc["C", "by_group"])
    assert official.share_in_same_group() == 0.5  # the other one is nearest to another class of its group
    assert make_trial([("A", ""), ("A", "")], ["AA", "AA"]).share_in_same_group() is None
    said = describe_quality(quality)
    assert "**Official**: trained on 3 images and tested on 2 of 2 classes, with 2 components, the nearest" in said
    assert "neighbour is right for 50.0% (95 % interval: 0.0 to 100.0) and the linear classifier for 50.0%" in said
    assert "**Group 0 to group r**" in said
    assert "**2 components** are enough" in said
    assert "- Classes left out of the tests by group, as not both groups have images of them: 1." in said
    assert "- Suspects: 0 images. Duplicates: 1 pairs of images are equal and 0 nearly equal; 1 of these pairs" in said
    told = quality.describe()
    assert told is not None
    assert told["by_group"]["0->r"]["classes_left_out"] == 1
    assert told["by_group"]["0->r"]["accuracy"] == {
        "2": {"nn1": 0.5, "linear": 0.5},
        "all": {"nn1": 0.5, "linear": 0.5},
    }


def test_an_evaluation_that_nobody_wants_is_none() -> None:
    nothing = cast("Any", None)
    quality = evaluate_quality(nothing, nothing, nothing, pca=nothing, store=nothing, group="", wanted=False)
    assert (describe_quality(quality), quality.tables, quality.describe()) == ("", {}, None)
    assert quality.accuracies.empty
    assert quality.rate_classes().empty
    assert quality.list_points().empty


def test_groups_train_on_the_classes_that_both_have() -> None:
    images = pd.DataFrame({"label": [*"ABABC"], "group": ["a->b", "a->b", "r", "r", "r"]})
    plans = list(_plan_trials(images, images[:0], images))
    assert [name for name, *_ in plans] == ["a->b->r", "r->a->b"]
    assert [[[*part.index] for part in parts] for _, *parts in plans] == [[[0, 1], [2, 3]], [[2, 3], [0, 1]]]
    apart = images.assign(label=[*"AABBB"])
    assert [(name, len(train), len(test)) for name, train, test in _plan_trials(apart, apart[:0], apart)] == [
        ("a->b->r", 0, 0),
        ("r->a->b", 0, 0),
    ]


@pytest.mark.parametrize(
    ("options", "count", "said"),
    [
        ({"split": "Training"}, 3, ""),
        ({"split": "Training", "max_images": 2}, 2, ""),
        ({"split": "Training", "wanted": False}, 0, "evaluate = false"),
        ({"split": "all"}, 0, "no other split to test all on; name one by --against"),
        ({"split": "all", "against": "Test"}, 3, ""),
        ({"split": "Training", "against": "Training"}, 3, ""),  # images of the split that the run did not take
    ],
)
def test_tested_is_another_split_with_the_classes_of_the_run(
    fruit_folder: Path, options: dict[str, Any], count: int, said: str
) -> None:
    source = open_images(fruit_folder)
    images = source.list_images(split="Training", classes=["*"]).groupby("label").head(2)
    put(fruit_folder, "Test/Lemon/1_100.jpg")
    tests, why = select_tests(source, images, **options)
    assert said in why
    assert bool(said) == bool(why)
    assert len(tests) == count
    assert set(tests["label"]) <= set(images["label"])
    assert not set(tests["path"]) & set(images["path"])


def test_a_split_that_is_not_there_is_an_error_only_if_it_was_named(fruit_folder: Path) -> None:
    source = open_images(fruit_folder)
    images = source.list_images(split="Training", classes=["*"])
    with pytest.raises(UsageError, match="Other"):
        select_tests(source, images, split="Training", against="Other")
    put(fruit_folder, "Other/Lemon/1_100.jpg")
    tests, why = select_tests(source, images, split="Training", against="Other")
    assert (len(tests), why) == (0, "No other split was tested: no other image of Other is of a class of this run.")
    shutil.rmtree(fruit_folder / "Test")
    tests, why = select_tests(source, images, split="Training")
    assert len(tests) == 0
    assert why.startswith("No other split was tested: ")
