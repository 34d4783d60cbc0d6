"""What all figures share: colours and the look of an axes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fruits.plots.text import PLAIN_TEXT, set_plainly

Floats = NDArray[np.floating[Any]]

# Okabe and Ito's colours, told apart by colour-blind readers; their yellow is too pale on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#3D3D3D")
BLUE, PALE_BLUE, RED, GREY, INK = "#0072B2", "#A9CDE5", "#B3470B", "#BDBDBD", "#333333"
MAX_BARS = 40
# Inches of every figure. A phone shows it at 75 pixels an inch: there a text of 9 points is 9 pixels high.
WIDTH = 4.8
# For `matplotlib.rcParams`.
FIGURES = PLAIN_TEXT | {
    "figure.dpi": 130,
    "figure.figsize": (WIDTH, WIDTH),
    "figure.constrained_layout.use": True,
    "font.size": 9,
}


def tidy(ax: Axes, *, grid: Any) -> Axes:
    """Take away what does not inform, put a pale grid behind the data, and set all texts plainly."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#E6E6E6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.title.set_fontsize(10.5)
    set_plainly(ax)
    return ax


def describe_figure(figure: Figure) -> str:
    """Return what a figure shows, for those who do not see it: the label that each plot gave its axes, or the title."""
    return "; ".join(filter(None, (str(ax.get_label()) or ax.get_title() for ax in figure.axes)))
