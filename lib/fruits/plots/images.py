"""Which images: how many of each class, and what they look like."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fruits.plots.style import BLUE, INK, MAX_BARS, PALE_BLUE, tidy
from fruits.plots.text import count_columns, set_plainly, show_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMED_AT_EACH_END = 15
UNNAMED_ROW = 0.15


def figure_height(classes: int) -> float:
    """Return the height, in inches, at which `plot_class_counts` is readable for a number of classes."""
    named = min(classes, MAX_BARS if classes <= MAX_BARS else 2 * NAMED_AT_EACH_END)
    return 0.9 + 0.22 * (named + UNNAMED_ROW * (classes - named))


def plot_class_counts(counts: "pd.Series[int]", *, ax: "Axes") -> "Axes":
    """Plot the images of each class as bars, the largest class on top.

    Above 40 classes, the 15 largest and the 15 smallest are named; the bars between them are thin.

    Parameters
    ----------
    counts
        Images (int) by class name. `figure_height` tells how tall a figure they need.
    """
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    rank = np.arange(len(counts))
    named = (rank < NAMED_AT_EACH_END) | (rank >= len(counts) - NAMED_AT_EACH_END) | (len(counts) <= MAX_BARS)
    height = np.where(named, 1, UNNAMED_ROW)
    middle = np.cumsum(height) - height / 2
    bars = ax.barh(middle, counts, height=np.where(named, 0.8, UNNAMED_ROW), color=np.where(named, BLUE, PALE_BLUE))
    numbers = [f"{count:,}" if shown else "" for count, shown in zip(counts, named, strict=True)]
    ax.bar_label(bars, numbers, padding=3, fontsize=8, color=INK)
    names = [show_name(str(name)) for name, shown in zip(counts.index, named, strict=True) if shown]
    places = list(middle[named])
    if not named.all():
        names.append(f"{(~named).sum()} classes between  ")
        places.append(middle[~named].mean())
    ax.set_yticks(places, names, fontsize=8.5)
    ax.set(title=f"{counts.sum():,} images in {len(counts)} class{'es' * (len(counts) != 1)}", xlabel="Images")
    ax.set(xlim=(0, 1.1 * counts.max() or 1), ylim=(height.sum(), 0))
    ax.tick_params(axis="y", length=0)
    return tidy(ax, grid="x")


def plot_contact_sheet(images: Sequence[NDArray[np.uint8]], titles: Sequence[str], *, ax: "Axes") -> "Axes":
    """Lay out images with their titles in rows, each image at its own proportions, and hide the axes.

    Parameters
    ----------
    images
        Arrays of shape (height, width, 3), uint8, 0 to 255; up to 40 stay readable on a figure 10 inches wide.
    titles
        One text for each image.
    """
    rows = math.ceil(len(images) / 8)
    columns = max(6, math.ceil(len(images) / max(rows, 1)))
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, top = place % columns, 1.36 * (place // columns)
        height, width = 0.92 * np.asarray(image.shape[:2]) / max(image.shape[:2])
        ax.imshow(image, extent=(left + 0.5 - width / 2, left + 0.5 + width / 2, top + 0.92, top + 0.92 - height))
        name = show_name(title)
        width = 16 * len(name) // count_columns(name)
        text = "\n".join(textwrap.wrap(name, width=width, max_lines=2, placeholder=" …"))
        ax.text(left + 0.5, top + 0.95, text, ha="center", va="top", fontsize=8, color=INK)
    ax.set(xlim=(0, columns), ylim=(1.36 * max(rows, 1), 0), aspect="equal")
    ax.set_axis_off()
    set_plainly(ax)
    return ax
