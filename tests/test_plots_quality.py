"""The figures and the table of accuracy, by what they show."""

import numpy as np
import pandas as pd
import pytest
from drawn import bars, legend, points, texts
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fruits import plots
from fruits.notebook import show_accuracies
from fruits.plots import style
from fruits.plots.quality import WORST


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@pytest.fixture
def accuracies() -> pd.DataFrame:
    """The second trial had more images, and so one k more."""
    rows = [
        (split, k, classifier, share, share - 0.1, share + 0.1)
        for split, ks, best in (("0->r", ("2", "5", "all"), 0.6), ("r->0", ("2", "5", "10", "all"), 0.8))
        for place, k in enumerate(ks)
        for classifier, share in (("nn1", best - 0.1 / (1 + place)), ("linear", best))
    ]
    return pd.DataFrame(rows, columns=["split", "k", "classifier", "accuracy", "low", "high"])


def test_accuracy_is_drawn_for_each_split_and_classifier_at_its_ks(accuracies: pd.DataFrame, ax: Axes) -> None:
    plots.plot_accuracy(accuracies, ax=ax)

    assert texts(ax.get_xticklabels()) == ["2", "5", "10", "all"]
    assert ax.get_ylabel() == "Images classified correctly (%)"
    assert legend(ax) == [
        f"{split}, {classifier}" for split in ("0 → r", "r → 0") for classifier in ("nearest neighbour", "linear")
    ]
    assert [points(line)[:, 0].tolist() for line in ax.lines[::2]] == [[0, 1, 3], [0, 1, 2, 3]]
    np.testing.assert_allclose(points(ax.lines[0])[:, 1], [50, 55, 60 - 10 / 3])
    assert "0 → r, linear: 60.0% at 2, 60.0% at 5, 60.0% at all" in str(ax.get_label())
    assert len(ax.collections) == 2  # intervals of the nearest neighbour alone


def test_below_it_is_the_variance_of_the_same_components(accuracies: pd.DataFrame) -> None:
    cumulative = np.linspace(0.1, 1, 10)
    figure = plots.draw_accuracy(accuracies, cumulative, figure=Figure())

    upper, lower = figure.axes
    assert upper.get_title() == "Accuracy; bands: 95 % intervals, nearest neighbour"
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("Number of components (k)", "Variance (%)")
    np.testing.assert_allclose(points(lower.lines[0])[:, 1], [20, 50, 100, 100])
    assert "variance kept: 20% with 2, 50% with 5, 100% with 10, 100% with all" in plots.describe_figure(figure)


def test_the_table_has_a_row_for_each_k_in_their_order(accuracies: pd.DataFrame) -> None:
    table = show_accuracies(accuracies)
    assert table.index.tolist() == ["2", "5", "10", "all"]
    assert table["r → 0, linear"].tolist() == ["80.0"] * 4
    assert show_accuracies(accuracies[:0]).empty


def rate(**shares: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(shares, index=["official", "by_group"]).T


NONE = float("nan")


def test_classes_are_drawn_from_the_worst_by_group(ax: Axes) -> None:
    plots.plot_class_accuracy(rate(Good=(1, 0.9), Apple=(0.9, 0.2), Kiwi=(0.5, NONE), Pear=(NONE, 0.4)), ax=ax)

    assert texts(ax.get_yticklabels()) == ["Apple", "Pear", "Kiwi", "Good"]
    drawn = {
        round(bar.get_y() + bar.get_height() / 2): (bar.get_width(), to_hex(bar.get_facecolor())) for bar in bars(ax)
    }
    blue, pale = style.BLUE.lower(), style.PALE_BLUE.lower()
    assert drawn == {0: (20, blue), 1: (40, blue), 2: (50, pale), 3: (90, blue)}
    assert points(ax.lines[0]).tolist() == [[90, 0], [100, 3]]
    assert legend(ax) == ["official split", "by group", "official split alone"]
    assert ax.get_xlabel() == "Images classified correctly (%)"
    assert str(ax.get_label()).endswith("Apple 20%, Pear 40%, Kiwi 50%, Good 90%")
    assert ax.yaxis_inverted()


@pytest.mark.parametrize(("shares", "named"), [((0.5, NONE), "official split alone"), ((NONE, 0.5), "by group")])
def test_only_what_was_measured_is_named(ax: Axes, shares: tuple[float, float], named: str) -> None:
    plots.plot_class_accuracy(rate(**{f"Class {n:02}": shares for n in range(30)}, Nothing=(NONE, NONE)), ax=ax)

    assert len(ax.patches) == WORST
    assert texts(ax.get_yticklabels())[::19] == ["Class 00", "Class 19"]
    assert legend(ax) == [named]
    assert ax.get_title() == "The 20 least accurate classes, nearest neighbour"
