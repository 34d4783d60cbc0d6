"""How much of the variance the components keep."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fruits.pca import count_components, format_share, format_target
from fruits.plots.style import BLUE, INK, MAX_BARS, PALE_BLUE, RED, Floats, tidy


def plot_scree(share: Floats, *, ax: Axes, marked: int | None = None) -> Axes:
    """Plot the share of the total variance (0 to 1) that each component holds, the largest first.

    The first `marked` components stand out, and the share of the last of them is written down.
    """
    count, percent = len(share), 100.0 * np.asarray(share)
    first = count if marked is None else marked
    edges, width = np.arange(count + 1) + 0.5, 0.8 if count <= MAX_BARS else 1.0
    for part, colour in ((slice(0, first), BLUE), (slice(first, count), PALE_BLUE)):
        ax.bar(edges[:-1][part] + 0.5, percent[part], width=width, color=colour)
    ax.set(title="Variance of each component", ylim=(0, 1.15 * percent.max() or 1))
    if marked is not None and percent.any():
        ax.axvline(marked, color=RED, linestyle=":")
        _write_beside(ax, marked, 0.93, f"component {marked}: {percent[marked - 1]:.3g}%", count=count)
    ends = f"the first holds {percent[0]:.3g}%, the last {percent[-1]:.3g}%"
    ax.set_label(f"{ax.get_title()} of {count}: {ends}")
    return _tidy_components(ax, percent)


def plot_cumulative(cumulative: Floats, *, ax: Axes, target: float) -> Axes:
    """Plot the share of the total variance (0 to 1) that the first components hold together, and the target."""
    reached_at = count_components(np.asarray(cumulative), target)
    count, percent, goal = len(cumulative), 100.0 * np.asarray(cumulative), 100 * target
    ax.plot(np.arange(1, count + 1), percent, color=BLUE, linewidth=2)
    ax.plot([count], percent[-1:], "o", color=BLUE)
    ax.axhline(goal, color=RED, linestyle="--", linewidth=1.2)
    if reached_at is None:
        note = f"{format_target(target)} not reached with {_count(count)}"
        ax.text(0.97, 0.04, note, transform=ax.transAxes, ha="right", color=RED)
    else:
        ax.plot([reached_at] * 2, [0, percent[reached_at - 1]], color=RED, linestyle=":", marker="D", markevery=[1])
        note = f"{format_target(target)} reached with {_count(reached_at)}"
        _write_beside(ax, reached_at, 0.04, note, count=count)
    # Two lines of text are 11 points of the axis tall: the two notes in the margin must not touch.
    above = percent[-1] - goal
    margin: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 9}
    ax.text(1.02, goal, f"target\n{format_target(target)}", color=RED, **margin)
    height = goal + math.copysign(max(abs(above), 11), above)
    ax.text(1.02, height, f"k = {count}\n{format_share(cumulative[-1])}", color=BLUE, **margin)
    ax.set(title="Variance of the first k components together", ylim=(0, 104))
    ax.set_label(f"{ax.get_title()}: {format_share(cumulative[-1])} with k = {count}; {note}")
    return _tidy_components(ax, percent)


def draw_variance(share: Floats, *, figure: Figure, target: float) -> Figure:
    """Draw `plot_scree` and `plot_cumulative`, both with the target, on an empty figure of 4.8 x 6.6 inches."""
    upper, lower = figure.subplots(2, 1)
    cumulative = np.cumsum(share)
    plot_scree(share, ax=upper, marked=count_components(cumulative, target))
    plot_cumulative(cumulative, ax=lower, target=target)
    return figure


def _count(count: int) -> str:
    return f"{count} component{'s' * (count != 1)}"


def _write_beside(ax: Axes, x: float, height: float, note: str, *, count: int) -> None:
    """Write on the roomier side of `x`, a component; `height` is a share of the axes."""
    side = "center" if count == 1 else "left" if x <= count / 2 else "right"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1} if count == 1 else None
    ax.text(x, height, f"  {note}  ", ha=side, color=RED, transform=ax.get_xaxis_transform(), bbox=box)


def _tidy_components(ax: Axes, percent: Floats) -> Axes:
    ax.set(xlabel="Principal component" if ax.patches else "Number of components (k)", xlim=(0.25, len(percent) + 0.75))
    ax.set_ylabel("Share of the total variance (%)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if not percent.any():
        note = "the features do not vary:\nthere is no variance to share"
        ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", color=INK)
    return tidy(ax, grid="y")
