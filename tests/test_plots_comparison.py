"""The figures of a comparison, by what they show."""

import numpy as np
import pandas as pd
import pytest
from drawn import bars, legend, points, texts
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fruits import plots
from fruits.plots.style import PALETTE

NONE = float("nan")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def test_stages_lie_end_to_end_and_their_sum_is_written(ax: Axes) -> None:
    seconds = pd.DataFrame({"model": [1, 2], "extraction": [10, 1200]}, index=["MINI", "FULL"])
    plots.plot_stage_seconds(seconds, ax=ax)

    assert texts(ax.get_yticklabels()) == ["MINI", "FULL"]
    assert legend(ax) == ["model", "extraction"]
    drawn = [(bar.get_x(), bar.get_width(), to_hex(bar.get_facecolor(), keep_alpha=False)) for bar in bars(ax)]
    blue, orange = (colour.lower() for colour in PALETTE[:2])
    assert drawn == [(0, 1, blue), (0, 2, blue), (1, 10, orange), (2, 1200, orange)]
    assert texts(ax.texts) == [" 11", " 1,202"]
    assert ax.yaxis_inverted()
    assert ax.get_label() == "time of each stage: MINI 11 seconds, FULL 1,202 seconds"


def test_a_run_has_a_curve_of_its_own_length(ax: Axes) -> None:
    plots.plot_variance_curves({"A": np.array([0.5, 0.25]), "B": np.array([0.4, 0.3, 0.2996])}, ax=ax)

    assert [points(line).tolist() for line in ax.lines] == [
        [[1, 50], [2, 75]],
        [[1, 40], [2, 70], [3, pytest.approx(99.96)]],
    ]
    # Cut off, not rounded.
    assert legend(ax) == ["A: 75.0% with 2", "B: 99.9% with 3"]
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2


def test_more_runs_than_colours_still_look_different(ax: Axes) -> None:
    plots.plot_variance_curves({str(number): np.array([0.5]) for number in range(20)}, ax=ax)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 20


def test_a_test_has_a_row_and_a_run_a_point_in_it(ax: Axes) -> None:
    rows = [("A", "official", 0.9, 0.8, 1.0), ("A", "0->r", 0.5, 0.4, 0.6), ("B", "0->r", 0.7, NONE, NONE)]
    plots.plot_run_accuracies(pd.DataFrame(rows, columns=["run", "test", "accuracy", "low", "high"]), ax=ax)

    assert texts(ax.get_yticklabels()) == ["official", "0 → r"]
    drawn = [points(line).round(3).tolist() for line in ax.lines]
    assert drawn == [[[90, -0.2], [50, 0.8]], [[70, 1.2]]]
    lines, *_ = ax.collections
    assert isinstance(lines, LineCollection)
    spans = [path.tolist() for path in lines.get_segments()]
    assert [[start[0], end[0]] for start, end in spans] == [[80, 100], [40, 60]]
    assert str(ax.get_label()).endswith("A, official: 90.0%; A, 0->r: 50.0%; B, 0->r: 70.0%")
