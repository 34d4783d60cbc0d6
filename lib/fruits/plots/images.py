"""Which images: how many of each class, and what they look like."""

import math
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fruits.plots.style import BLUE, INK, MAX_BARS, PALE_BLUE, WIDTH, tidy
from fruits.plots.text import count_columns, set_plainly, show_name

NAMED_AT_EACH_END = 15
UNNAMED_ROW = 0.06
MAX_EXAMPLES = 200
_COLUMNS, _ROWS, _ROW = 5, 6, 1.36


def figure_height(classes: int) -> float:
    """Return the height, in inches, at which `plot_class_counts` is readable for a number of classes."""
    named = min(classes, MAX_BARS if classes <= MAX_BARS else 2 * NAMED_AT_EACH_END)
    return 0.9 + 0.22 * (named + UNNAMED_ROW * (classes - named))


def plot_class_counts(counts: pd.Series, *, ax: Axes) -> Axes:
    """Plot the images of each class as bars, the largest class on top, in a figure as tall as `figure_height` says.

    Above 40 classes, the 15 largest and the 15 smallest are named; the bars between them are thin.
    """
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    rank = np.arange(len(counts))
    named = (rank < NAMED_AT_EACH_END) | (rank >= len(counts) - NAMED_AT_EACH_END) | (len(counts) <= MAX_BARS)
    height = np.where(named, 1, UNNAMED_ROW)
    middle = np.cumsum(height) - height / 2
    bars = ax.barh(middle, counts, height=np.where(named, 0.8, UNNAMED_ROW), color=np.where(named, BLUE, PALE_BLUE))
    numbers = [f"{count:,}" if shown else "" for count, shown in zip(counts, named, strict=True)]
    ax.bar_label(bars, numbers, padding=3, fontsize=8.5, color=INK)
    names = [show_name(str(name)) for name, shown in zip(counts.index, named, strict=True) if shown]
    places = list(middle[named])
    if not named.all():
        names.append(f"{(~named).sum()} classes between  ")
        places.append(middle[~named].mean())
    ax.set_yticks(places, names, fontsize=8.5)
    ax.set(title=f"{counts.sum():,} images in {len(counts)} class{'es' * (len(counts) != 1)}", xlabel="Images")
    ax.set(xlim=(0, 1.1 * counts.max() or 1), ylim=(height.sum(), 0))
    ax.tick_params(axis="y", length=0)
    most, least = (f"{counts.iloc[place]:,} of {show_name(str(counts.index[place]))}" for place in (0, -1))
    ax.set_label(f"{ax.get_title()}, from {least} to {most}")
    return tidy(ax, grid="x")


def draw_contact_sheets(
    examples: Sequence[tuple[str, NDArray[np.uint8]]], *, classes: int, new_figure: Callable[..., Figure]
) -> list[Figure]:
    """Draw labelled images on as many figures as they need, each small enough for a page of paper.

    The last figure says how many of the `classes` of the run are not shown. `new_figure` is pyplot's `figure`.
    """
    figures, left_out = [], classes - len({label for label, _ in examples})
    for start in range(0, len(examples), _COLUMNS * _ROWS):
        labels, images = zip(*examples[start : start + _COLUMNS * _ROWS], strict=True)
        rows = math.ceil(len(labels) / _COLUMNS)
        figures.append(new_figure(figsize=(WIDTH, 0.2 + _ROW * rows * WIDTH / _COLUMNS)))
        plot_contact_sheet(images, labels, ax=figures[-1].subplots())
    if left_out and figures:
        figures[-1].axes[0].set_title(f"{left_out:,} of {classes:,} classes are not shown", fontsize=9)
    return figures


def plot_contact_sheet(images: Sequence[NDArray[np.uint8]], titles: Sequence[str], *, ax: Axes) -> Axes:
    """Lay out images with their titles in rows of five, each image at its own proportions, and hide the axes."""
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, top = place % _COLUMNS, _ROW * (place // _COLUMNS)
        place_image(image, left=left, top=top, ax=ax)
        name = show_name(title)
        width = 13 * len(name) // count_columns(name)
        text = "\n".join(textwrap.wrap(name, width=width, max_lines=2, placeholder=" …"))
        ax.text(left + 0.5, top + 0.95, text, ha="center", va="top", fontsize=8.5, color=INK)
    ax.set(xlim=(0, _COLUMNS), ylim=(_ROW * max(math.ceil(len(images) / _COLUMNS), 1), 0), aspect="equal")
    ax.set_label(f"{len(images)} images: {', '.join(dict.fromkeys(map(show_name, titles)))}")
    ax.set_axis_off()
    set_plainly(ax)
    return ax


def plot_pairs(images: Sequence[NDArray[np.uint8]], texts: Sequence[str], *, ax: Axes) -> Axes:
    """Lay out images in rows of two, with a text, which is not wrapped, beside each row, and hide the axes."""
    for place, (image, text) in enumerate(zip(images, np.repeat(texts, 2), strict=True)):
        place_image(image, left=place % 2, top=place // 2, ax=ax)
        if place % 2:
            ax.text(2.15, place // 2 + 0.5, text, va="center", fontsize=8.5, color=INK)
    ax.set(xlim=(0, 6), ylim=(max(len(texts), 1), 0), aspect="equal")
    ax.set_label(f"{len(texts)} pairs of images: {'; '.join(text.replace(chr(10), ' ') for text in texts)}")
    ax.set_axis_off()
    set_plainly(ax)
    return ax


def place_image(image: NDArray[np.uint8], *, left: float, top: float, ax: Axes) -> None:
    """Draw an image at its own proportions into a square of side 1; the vertical axis points down."""
    height, width = 0.92 * np.asarray(image.shape[:2]) / max(image.shape[:2])
    ax.imshow(image, extent=(left + 0.5 - width / 2, left + 0.5 + width / 2, top + 0.92, top + 0.92 - height))
