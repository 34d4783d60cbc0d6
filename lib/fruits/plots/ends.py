"""What the components mean: the images at both ends of each."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fruits.plots.images import place_image
from fruits.plots.style import INK, Floats
from fruits.plots.text import set_plainly, show_name

# The images at an end are among this share of all: further inside, another class would be no end.
_SHARE = 0.05
_GAP, _ROW = 0.5, 2.15


def find_ends(scores: Floats, labels: Sequence[str], *, components: int = 6, count: int = 4) -> NDArray[np.intp]:
    """Choose images with the lowest and the highest scores, of as many classes as there are among the outermost 5 %.

    Without that rule they would be neighbouring frames of one film. Returns rows of `scores`, in the shape
    (components, 2, count): of each component the lowest first, then the highest, which comes last. There are fewer
    components and images if the scores have no more.
    """
    orders = [np.argsort(column, kind="stable") for column in scores.T[:components]]
    count = min(count, len(scores))
    ends = [
        [_take_classes(order, labels, count=count), _take_classes(order[::-1], labels, count=count)[::-1]]
        for order in orders
    ]
    return np.array(ends, dtype=np.intp)


def _take_classes(order: NDArray[np.intp], labels: Sequence[str], *, count: int) -> list[int]:
    outermost = order[: max(count, int(_SHARE * len(order)))].tolist()
    first = set({labels[row]: row for row in reversed(outermost)}.values())
    taken = sorted(outermost, key=lambda row: row not in first)[:count]
    return [row for row in outermost if row in taken]


def plot_ends(
    ends: NDArray[np.intp],
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    *,
    ax: Axes,
    explained_variance_ratio: Sequence[float],
) -> Axes:
    """Plot the images of `ends`, in its order, at both ends of each component: a row each, the lowest scores left."""
    components, _, count = ends.shape
    pictures, said = iter(images), []
    for number, (pair, share) in enumerate(zip(ends, explained_variance_ratio, strict=False)):
        top, title = number * _ROW, f"PC{number + 1} ({100 * share:.1f} % of the variance)"
        names = [", ".join(dict.fromkeys(show_name(labels[row]) for row in rows)) for rows in pair]
        said.append(f"{title}: {' against '.join(names)}")
        ax.text(0, top + 0.3, title, fontsize=9, color=INK, weight="bold")
        for left, name in zip((0, count + _GAP), names, strict=True):
            for place in range(count):
                place_image(next(pictures), left=left + place, top=top + 0.35, ax=ax)
            text = "\n".join(textwrap.wrap(name, width=8 * count, max_lines=2, placeholder=" …"))
            ax.text(left, top + 1.32, text, va="top", fontsize=9, color=INK)
    ax.set(xlim=(0, 2 * count + _GAP), ylim=(components * _ROW, 0), aspect="equal")
    ax.set_label("; ".join(said))
    ax.set_axis_off()
    set_plainly(ax)
    return ax
