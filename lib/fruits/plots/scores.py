"""The images on the first two components."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from fruits.plots.style import GREY, PALETTE, Floats, tidy
from fruits.plots.text import count_columns, show_name

MARKERS = ("o", "^")
MAX_ENTRIES = len(PALETTE) * len(MARKERS)
MAX_POINTS = 20_000


def plot_scores(scores: Floats, labels: Sequence[str], *, ax: Axes, explained_variance_ratio: Sequence[float]) -> Axes:
    """Plot the images on the first two components, coloured by class; with one component they lie on a line.

    Up to 14 classes are named in the legend, which stands below; more are put together by the first word of their
    names, and the smallest groups as `others`. Above 20,000 images, every class is thinned alike.
    """
    if scores.ndim != 2 or len(scores) != len(labels):
        raise ValueError(f"scores have shape {scores.shape}; with {len(labels)} labels it must be ({len(labels)}, k).")
    plane = np.pad(scores[:, :2], ((0, 0), (0, max(0, 2 - scores.shape[1]))))
    classes = np.asarray(labels)
    drawn, thinned = _thin(classes)
    entry_of, styles = _style_entries(labels)
    entries = np.asarray([entry_of[name] for name in classes[drawn]])
    points = []
    for entry, style in reversed(styles.items()):
        x, y = plane[drawn[entries == entry]].T
        size = np.clip(20_000 / len(drawn), 6, 40)
        points.append(ax.scatter(x, y, s=size, linewidths=0, alpha=0.7, label=entry, **style))
    _name_points(points[::-1], list(styles), ax=ax)
    x, y = (
        f"PC{n} ({100 * share:.1f} % of the variance)"
        for n, share in enumerate((*explained_variance_ratio, 0.0)[:2], 1)
    )
    ax.set(title=f"{len(labels):,} images on the first two components{thinned}", xlabel=x, ylabel=y)
    ax.set_label(f"{ax.get_title()}, {x} and {y}; in colours: {', '.join(map(show_name, styles))}")
    return tidy(ax, grid="both")


def _name_points(points: list[PathCollection], entries: list[str], *, ax: Axes) -> None:
    # Matplotlib leaves out labels that begin with `_`: the legend is made of numbers, which the names then replace.
    numbers = [str(number) for number in range(len(points))]
    narrow = max(map(count_columns, map(show_name, entries)), default=0) <= 26
    legend = ax.legend(points, numbers, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=1 + narrow, frameon=False)
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_text(show_name(entry))
    for handle in filter(None, legend.legend_handles):
        handle.set(alpha=1, sizes=[45])


def _thin(classes: NDArray[np.str_]) -> tuple[NDArray[np.intp], str]:
    """Choose the rows to draw, the same share of every class, and say so if they are not all."""
    rows = np.argsort(classes, kind="stable")
    if len(rows) <= MAX_POINTS:
        return rows, ""
    note = f" ({MAX_POINTS:,} drawn, every class thinned alike)"
    return rows[np.linspace(0, len(rows) - 1, MAX_POINTS).astype(int)], note


def _style_entries(labels: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Map each class to its legend entry, and each entry, in the legend's order, to its colour and marker."""
    images = set(labels)
    entry_of = {name: name for name in images}
    first_word = {name: name.partition(" ")[0] for name in images}
    words = Counter(first_word.values())
    # One or two first words (a run on apples alone) would tell nothing apart.
    if len(images) > MAX_ENTRIES and len(words) > 2:
        entry_of |= {name: f"{word} ({words[word]} classes)" for name, word in first_word.items() if words[word] > 1}
    sizes = Counter(entry_of[name] for name in labels)
    kept = sorted(sizes, key=lambda entry: (-sizes[entry], entry))
    kept = kept[: MAX_ENTRIES if len(kept) <= MAX_ENTRIES else MAX_ENTRIES - 1]
    looks = [{"color": colour, "marker": marker} for marker in MARKERS for colour in PALETTE]
    styles: dict[str, dict[str, Any]] = dict(zip(sorted(kept), looks, strict=False))
    if others := [name for name in images if entry_of[name] not in styles]:
        entry = f"others ({len(others)} classes)"
        entry_of |= dict.fromkeys(others, entry)
        styles[entry] = {"color": GREY, "marker": "."}
    return entry_of, styles
