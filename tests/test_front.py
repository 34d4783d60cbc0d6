"""The first screen of a report, from a manifest written by hand."""

from typing import Any

import pytest

from fruits_cli.front import describe_front

MANIFEST: dict[str, Any] = {
    "mode": "APPLES",
    "started": "2026-11-26T06:46:54+00:00",
    "git_commit": "23c01978",
    "git_dirty": True,
    "params": {
        "classes": ["Apple*", "Pear"],
        "split": "Training",
        "variance_target": 0.95,
        "target": "local",
        "input_dir": "data/Fruits-360",
        "weights": "weights/net.h5",
    },
    "model": {"backbone": "mobilenet_v2", "input_size": 224, "features": 1280},
    "counts": {"listed": 6404, "features": 6400, "errors": 4},
    "ignored": 3,
    "images_per_second": None,
    "pca": {"kept": 200, "variance_target": 0.95, "components_for_target": 177, "cumulative": 0.9551},
    "versions": {"fruits": "1.0", "python": "3.11.7", "java": None},
}
QUALITY = {
    "official": {"accuracy": {"50": {"nn1": 0.976, "linear": 0.98}, "all": {"nn1": 0.99, "linear": 0.99}}},
    "by_group": {"0->r": {"accuracy": {"50": {"nn1": 0.686}}}, "r->0": {"accuracy": {"50": {"nn1": 0.769}}}},
    "components_within_one_point": {"official": 20, "by_group": 50},
}


def test_without_quality_the_answer_is_the_variance() -> None:
    front = describe_front(MANIFEST)

    assert front.asked == "APPLES: 6,404 images of Apple*, Pear in Training; the variance to keep is 95%."
    assert front.answer == (
        "200 components keep 95.5% of the variance of 6,400 images. The target of 95% is reached with 177."
    )
    expected = {"images": "6,400", "errors": "4", "ignored files": "3", "components kept": "200"}
    assert dict(front.tiles) == expected | {"variance kept": "95.5%"}
    facts = dict(front.facts)
    assert facts["date"] == "2026-11-26 06:46 UTC"
    assert facts["commit"] == "23c01978 (edited since)"
    assert facts["images"].startswith("Fruits-360 by Horea Muresan and Mihai Oltean, MIT licence")
    assert facts["network"] == "mobilenet_v2, weights net.h5, 224 pixels, 1,280 features"
    assert facts["versions"] == "fruits 1.0, python 3.11.7"
    assert "author" not in facts


def test_with_quality_the_answer_is_the_number_recommended_by_group_and_both_accuracies() -> None:
    told = {"author": "É. Example", "images_per_second": 56.4, "cost": "about 0.76 EUR an hour"}
    front = describe_front(MANIFEST | told | {"quality": QUALITY})

    assert front.answer.startswith("50 components are enough: ")
    assert "68.6% (0 → r) and 76.9% (r → 0)" in front.answer
    assert front.answer.endswith("On the other split it is right for 97.6%.")
    tiles = dict(front.tiles)
    assert tiles["right, official, k = 50"] == "97.6%"
    assert tiles["right, 0 → r, k = 50"] == "68.6%"
    assert tiles["images/s"] == "56"
    assert {("author", "É. Example"), ("cost", "the cluster costs about 0.76 EUR an hour")} < {*front.facts}


def test_the_official_accuracy_is_explained_by_the_share_that_finds_its_own_group() -> None:
    front = describe_front(MANIFEST | {"quality": QUALITY | {"nearest_in_same_group": 0.9274}})

    assert front.answer.endswith(
        "it is right for 97.6%: 92.7% of its images have their nearest training image in their own group and class."
    )


def test_where_no_number_of_components_is_enough_all_features_are_named() -> None:
    ways = {"0->r": {"accuracy": {"50": {"nn1": 0.5}, "all": {"nn1": 0.7}}}}
    enough = {"official": 50, "by_group": 1280}

    front = describe_front(MANIFEST | {"quality": {"by_group": ways, "components_within_one_point": enough}})

    assert front.answer.startswith(
        "All 1,280 features are needed: trained on one group of images and tested on another"
    )


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("official", "50 components are enough: "),
        ("by_group", "A nearest-neighbour classifier on 50 numbers an image is right for 97.6% of the official split."),
        ("components_within_one_point", "The target of 95% is reached with 177."),
    ],
)
def test_any_part_of_the_quality_may_be_missing(missing: str, said: str) -> None:
    front = describe_front(MANIFEST | {"quality": QUALITY | {missing: None}})

    assert said in front.answer
    assert ("right, official, k = 50" in dict(front.tiles)) == (missing == "by_group")


def test_the_sample_says_so_and_claims_no_weights() -> None:
    sample = MANIFEST["params"] | {"target": "sample", "weights": "random", "input_dir": "data/fruits-360"}

    front = describe_front(MANIFEST | {"params": sample | {"classes": ["*"]}})

    facts = dict(front.facts)
    assert "6,404 images of all classes in Training" in front.asked

    assert facts["images"] == "sample, drawn by this program; it says nothing about fruit"
    assert "untrained weights" in facts["network"]
