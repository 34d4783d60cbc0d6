"""Nearest images and classes, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from fruits.neighbours import Neighbourhood

RANDOM = np.random.default_rng(5)
SCORES = RANDOM.normal(size=(200, 6)).astype(np.float32)
LABELS = RANDOM.choice(["Kiwi", "Apple", "Poire", "Fig"], 200).astype(object)
PATHS = np.array([f"Training/{label}/{number}.jpg" for number, label in enumerate(LABELS)], dtype=object)
KNOWN = Neighbourhood(SCORES, PATHS, LABELS)
NEW = RANDOM.normal(size=(150, 6)).astype(np.float32)  # more than are compared at once


def test_images_are_those_of_scikit_learn() -> None:
    found = KNOWN.find([f"{number}.jpg" for number in range(150)], NEW, count=3)

    gaps, places = NearestNeighbors(n_neighbors=3).fit(SCORES.astype(np.float64)).kneighbors(NEW.astype(np.float64))
    images = found[found["kind"] == "image"]
    assert images["path"].tolist() == [f"{number}.jpg" for number in range(150) for _ in range(3)]
    assert images["rank"].tolist() == [1, 2, 3] * 150
    assert images["nearest"].tolist() == PATHS[places].ravel().tolist()
    np.testing.assert_allclose(images["distance"], gaps.ravel(), rtol=1e-12)


@pytest.mark.parametrize(("count", "classes"), [(2, 2), (9, 4)])
def test_a_class_is_as_near_as_its_nearest_image(count: int, classes: int) -> None:
    found = KNOWN.find(["new.jpg"], NEW[:1], count=count)

    gaps = np.linalg.norm(SCORES.astype(np.float64) - NEW[0], axis=1)
    nearest = sorted((gaps[label == LABELS].min(), label) for label in set(LABELS))[:classes]
    rows = found[found["kind"] == "class"]
    assert rows["label"].tolist() == [label for _, label in nearest]
    np.testing.assert_allclose(rows["distance"], [gap for gap, _ in nearest], rtol=1e-12)
    assert (found["kind"] == "image").sum() == count


def test_an_image_of_the_run_is_its_own_neighbour() -> None:
    assert KNOWN.find([PATHS[7]], SCORES[7:8], count=1)["nearest"].tolist() == [PATHS[7]] * 2
    one = Neighbourhood(SCORES[:1], PATHS[:1], LABELS[:1])
    assert one.find(["a"], SCORES[:1], count=3)["distance"].tolist() == [0, 0]
