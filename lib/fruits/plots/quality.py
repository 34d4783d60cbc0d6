"""How well images are told apart: accuracy against the number of components, and class by class."""

import math
from typing import TYPE_CHECKING

import numpy as np

from fruits.manifest import show_test
from fruits.plots.style import BLUE, GREY, INK, PALE_BLUE, PALETTE, Floats, tidy
from fruits.plots.text import show_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ALL = "all"
_NAMES = {"nn1": "nearest neighbour", "linear": "linear"}
WORST = 20


def order_ks(ks: "Iterable[str]") -> list[str]:
    """Return the different numbers of components, ascending, and last `all`; few images try fewer of them."""
    return sorted(set(ks), key=lambda k: math.inf if k == _ALL else int(k))


def draw_accuracy(accuracies: "pd.DataFrame", cumulative: Floats, *, figure: "Figure") -> "Figure":
    """Draw accuracy over the variance that the same components keep; for an empty figure of 4.8 x 6.6 inches.

    Parameters
    ----------
    accuracies
        split, k, classifier (str), accuracy, low, high (0 to 1), as `quality.csv`.
    cumulative
        Cumulative shares of the total variance of the components kept.
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    plot_accuracy(accuracies, ax=upper)
    ks = order_ks(accuracies["k"])
    counts = [len(cumulative) if k == _ALL else int(k) for k in ks]
    shares = [100.0 if k == _ALL else 100 * cumulative[count - 1] for k, count in zip(ks, counts, strict=True)]
    lower.plot(range(len(ks)), shares, color=GREY, marker="o")
    lower.set(xlabel="Number of components (k)", ylabel="Variance (%)", ylim=(0, 104))
    said = (f"{share:.0f}% with {k}" for k, share in zip(ks, shares, strict=True))
    lower.set_label(f"variance kept: {', '.join(said)}")
    tidy(lower, grid="y")
    return figure


def plot_accuracy(accuracies: "pd.DataFrame", *, ax: "Axes") -> "Axes":
    """Plot the accuracy of each split and classifier against the number of components, with its intervals."""
    ks = order_ks(accuracies["k"])
    said = []
    for number, (split, rows) in enumerate(accuracies.groupby("split", sort=False)):
        for classifier, part in rows.groupby("classifier", sort=False):
            places = np.array([ks.index(k) for k in part["k"]])
            low, middle, high = (100 * part[name].to_numpy(float) for name in ("low", "accuracy", "high"))
            style = {"nn1": "-", "linear": "--"}[str(classifier)]
            label = f"{show_test(str(split))}, {_NAMES[str(classifier)]}"
            colour = PALETTE[number % len(PALETTE)]
            ax.plot(places, middle, style, marker="o", markersize=3.5, color=colour, label=label)
            if classifier == "nn1":
                ax.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
            rates = (f"{rate:.1f}% at {k}" for k, rate in zip(part["k"], middle, strict=True))
            said.append(f"{label}: {', '.join(rates)}")
    ax.set_xticks(range(len(ks)), ks)
    ax.set_title("Accuracy; bands: 95 % intervals, nearest neighbour")
    ax.set(ylabel="Images classified correctly (%)", ylim=(0, 102))
    ax.legend(loc="lower right", fontsize=8, frameon=False)
    ax.set_label("accuracy by number of components. " + "; ".join(said))
    return tidy(ax, grid="y")


def plot_class_accuracy(classes: "pd.DataFrame", *, ax: "Axes") -> "Axes":
    """Plot the accuracy of the classes that do worst, at most 20, by group where it was measured so.

    Parameters
    ----------
    classes
        official and by_group (0 to 1, or missing) by class name.
    """
    worst = classes.assign(shown=classes["by_group"].fillna(classes["official"])).dropna(subset="shown")
    worst = worst.sort_values("shown", kind="stable").head(WORST)
    places = np.arange(len(worst))
    grouped = worst["by_group"].notna().to_numpy()
    for name, rows, colour in (("by group", grouped, BLUE), ("official split alone", ~grouped, PALE_BLUE)):
        if rows.any():
            ax.barh(places[rows], 100 * worst["shown"][rows], height=0.7, color=colour, label=name)
    if (rows := grouped & worst["official"].notna().to_numpy()).any():
        ax.plot(100 * worst["official"][rows], places[rows], "|", color=INK, markersize=9, label="official split")
    ax.set_yticks(places, [show_name(str(name)) for name in worst.index], fontsize=8.5)
    ax.set(xlim=(0, 102), ylim=(len(worst) - 0.4, -0.6), xlabel="Images classified correctly (%)")
    shown = "Accuracy of all classes" if len(worst) == len(classes) else f"The {len(worst)} least accurate classes"
    ax.set_title(f"{shown}, nearest neighbour")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=4.5, ncols=2, fontsize=8, frameon=False)
    said = ", ".join(f"{show_name(str(name))} {share:.0%}" for name, share in worst["shown"].items())
    ax.set_label(f"{ax.get_title()}: {said}")
    return tidy(ax, grid="x")
