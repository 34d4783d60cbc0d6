"""What was drawn on axes, for the tests of the figures."""

from collections.abc import Iterable

import numpy as np
from conftest import Array
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text


def texts(labels: Iterable[Text]) -> list[str]:
    return [label.get_text() for label in labels]


def legend(ax: Axes) -> list[str]:
    drawn = ax.get_legend()
    assert drawn is not None
    return texts(drawn.get_texts())


def bars(ax: Axes) -> list[Rectangle]:
    """Return the bars of axes on which nothing else is a patch."""
    found = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(found) == len(ax.patches)
    return found


def points(line: Line2D) -> Array:
    """Return the points of a line, shape (n, 2)."""
    return np.asarray(line.get_xydata())
