"""The embedding keeps groups apart, and is left out where its package is not installed."""

import importlib.util

import numpy as np
import pytest

from fruits.embedding import FEWEST, embed


@pytest.mark.integration  # half a minute of compilation, and a package that only `make test-integration` installs
@pytest.mark.filterwarnings("ignore")  # those of numba and of faiss are not ours
def test_groups_that_are_apart_stay_apart() -> None:
    pytest.importorskip("pacmap", reason="pacmap is not installed: make test-integration installs it")
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 60)
    scores = rng.normal(size=(180, 5)) + 30 * np.eye(5)[group]

    places = embed(scores)

    assert places is not None
    assert places.shape == (180, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (group[distances.argmin(axis=1)] == group).all()
    again = embed(scores)
    assert again is not None
    assert np.array_equal(places, again)


def test_without_its_package_or_with_few_rows_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert embed(np.ones((FEWEST - 1, 3))) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert embed(np.ones((FEWEST, 3))) is None
