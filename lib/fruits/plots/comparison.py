"""Runs side by side: their time, their variance, their accuracy."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from fruits.manifest import show_test
from fruits.pca import format_share
from fruits.plots.style import INK, PALETTE, Floats, tidy
from fruits.plots.text import set_plainly, show_name

_LINES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX"


def plot_stage_seconds(seconds: pd.DataFrame, *, ax: Axes) -> Axes:
    """Plot the seconds that the stages (columns) of runs (rows) took, one bar a run."""
    places, left = np.arange(len(seconds)), np.zeros(len(seconds))
    for stage, colour in zip(seconds, itertools.cycle(PALETTE), strict=False):
        widths = seconds[stage].to_numpy(float)
        ax.barh(places, widths, left=left, height=0.65, color=colour, label=str(stage))
        left += widths
    for row, total in zip(places, left, strict=True):
        ax.text(total, row, f" {total:,.0f}", va="center", color=INK, fontsize=9)
    ax.set_yticks(places, [show_name(str(name)) for name in seconds.index])
    ax.set(xlabel="Seconds", xlim=(0, 1.15 * left.max(initial=0) or 1), ylim=(len(seconds) - 0.5, -0.5))
    ax.set_title("Time of each stage")
    # Below the name of the axis, however many runs there are.
    below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.4, 0), "bbox_transform": below}
    ax.legend(ncols=4, fontsize=8, frameon=False, **place)
    said = (f"{name} {total:,.0f} seconds" for name, total in zip(seconds.index, left, strict=True))
    ax.set_label(f"time of each stage: {', '.join(said)}")
    return tidy(ax, grid="x")


def plot_variance_curves(shares: Mapping[str, Floats], *, ax: Axes) -> Axes:
    """Plot the variance that the first k components of runs keep together, one curve a run."""
    said, looks = [], _list_looks()
    for (name, share), (colour, line, _) in zip(shares.items(), looks, strict=False):
        percent = 100 * np.cumsum(share)
        label = f"{show_name(name)}: {format_share(float(percent[-1]) / 100)} with {len(share):,}"
        ax.plot(np.arange(1, len(share) + 1), percent, line, color=colour, linewidth=1.8, label=label)
        said.append(label)
    ax.set(xlabel="Number of components (k)", ylabel="Share of the total variance (%)", ylim=(0, 104))
    ax.set_title("Variance of the first k components together")
    ax.legend(loc="lower right", fontsize=8, frameon=False)
    ax.set_label(f"variance kept: {'; '.join(said)}")
    return tidy(ax, grid="y")


def plot_run_accuracies(accuracies: pd.DataFrame, *, ax: Axes) -> Axes:
    """Plot accuracy, with low and high (0 to 1) where they are known, of each run in each test."""
    tests, names = (list(dict.fromkeys(accuracies[column])) for column in ("test", "run"))
    step, said = 0.8 / len(names), []
    for number, (name, (colour, _, marker)) in enumerate(zip(names, _list_looks(), strict=False)):
        rows = accuracies[accuracies["run"] == name]
        places = np.array([tests.index(test) for test in rows["test"]]) + (number + 0.5) * step - 0.4
        low, middle, high = (100 * rows[column].to_numpy(float) for column in ("low", "accuracy", "high"))
        ax.hlines(places, low, high, color=colour, linewidth=1.6, alpha=0.6)
        ax.plot(middle, places, marker, color=colour, markersize=5, label=show_name(name))
        said += [f"{name}, {test}: {rate:.1f}%" for test, rate in zip(rows["test"], middle, strict=True)]
    ax.set_yticks(range(len(tests)), [show_test(test) for test in tests])
    ax.set(xlabel="Images classified correctly (%)", ylim=(len(tests) - 0.5, -0.5))
    ax.set_title("Accuracy of the nearest neighbour; lines: 95 % intervals")
    ax.legend(loc="best", fontsize=8, frameon=False)
    ax.set_label(f"accuracy of the nearest neighbour. {'; '.join(said)}")
    set_plainly(ax)
    return tidy(ax, grid="x")


def _list_looks() -> Iterator[tuple[str, str, str]]:
    """Yield colours, lines and markers, different for more runs than there are colours."""
    for number in itertools.count():
        turn, place = divmod(number, len(PALETTE))
        yield PALETTE[place], _LINES[(place + turn) % len(_LINES)], _MARKERS[(place + turn) % len(_MARKERS)]
