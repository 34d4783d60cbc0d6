"""What all figures share: colours and the look of an axes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fruits.plots.text import set_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.floating[Any]]

# Okabe and Ito's colours, told apart by colour-blind readers; their yellow is too pale on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#3D3D3D")
BLUE, PALE_BLUE, RED, GREY, INK = "#0072B2", "#A9CDE5", "#B3470B", "#BDBDBD", "#333333"
MAX_BARS = 40


def tidy(ax: "Axes", *, grid: Any) -> "Axes":
    """Take away what does not inform, put a pale grid behind the data, and set all texts plainly."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#E6E6E6", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.title.set_fontsize(12)
    set_plainly(ax)
    return ax
