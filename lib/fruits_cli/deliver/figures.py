"""The charts of the presentation, in its language, as SVG whose texts are paths."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fruits import results
from fruits.arrow import to_matrix
from fruits.plots.quality import order_ks
from fruits.plots.style import GREY, INK, PALETTE, tidy
from fruits_cli.deliver.facts import Run
from fruits_cli.deliver.language import Language
from fruits_cli.deliver.typesetting import find_font

# Centimetres on the slide, so that a point of the chart is a point of the slide.
_WIDE, _HIGH = 20.0, 11.9
_POINTS, _NAMED = 6000, 6


class Charts:
    """Draws the charts of a run; `files` collects them by the names that the template gives them."""

    def __init__(self, run: Run, *, facts: Mapping[str, Any], texts: Mapping[str, Any], language: Language) -> None:
        self.run, self.facts, self.texts, self.language = run, facts, texts, language
        self.files: dict[str, bytes] = {}

    def draw(self) -> dict[str, bytes]:
        """Return all charts for which the run has data."""
        self._draw_variance()
        self._draw_scores()
        self._draw_accuracy()
        self._draw_throughput()
        return self.files

    @contextmanager
    def _axes(self, name: str, *, x: str, y: str, grid: str = "y") -> Iterator[Axes]:
        font_manager.fontManager.addfont(find_font())
        # Noto Sans has no arrows.
        look: dict[str, Any] = {"font.family": ["Noto Sans", "DejaVu Sans"], "font.size": 15, "axes.labelsize": 15}
        look |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)
        look |= {"svg.fonttype": "path", "svg.hashsalt": name, "axes.linewidth": 1}
        with mpl.rc_context(cast("Any", look)):
            figure = Figure(figsize=(_WIDE / 2.54, _HIGH / 2.54), layout="constrained")
            ax = figure.subplots()
            yield ax
            ax.set(xlabel=self.texts[x], ylabel=self.texts[y])
            tidy(ax, grid=grid)
            stream = io.BytesIO()
            figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None})
            self.files[f"figures/{name}.svg"] = stream.getvalue()

    def _spell(self, axis: Any, kind: str) -> None:
        """Write the numbers of an axis as the language does."""
        axis.set_major_formatter(lambda value, _: self.language.format(value, kind))

    def _draw_variance(self) -> None:
        shares = self.run.read_table(results.VARIANCE)
        target, needed = self.facts["pca"]["variance_target"], self.facts["pca"]["components_for_target"]
        with self._axes("variance", x="axis.components", y="axis.variance") as ax:
            ax.fill_between(shares["component"], shares["cumulative"], color=PALETTE[0], alpha=0.12, linewidth=0)
            ax.plot(shares["component"], shares["cumulative"], color=PALETTE[0], linewidth=3.5)
            ax.axhline(target, color=PALETTE[3], linestyle="--", linewidth=2)
            name = f"{self.texts['axis.target']} {self.language.format(target, 'target')}"
            white: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 2}
            ax.text(0.03, target + 0.025, name, color=PALETTE[3], transform=ax.get_yaxis_transform(), bbox=white)
            if needed:
                ax.plot([needed] * 2, [0, target], color=PALETTE[3], linestyle=":", linewidth=2)
                ax.plot([needed], [target], "o", color=PALETTE[3], markersize=11)
            ax.set(ylim=(0, 1.08), xlim=(0, len(shares) * 1.01))
            self._spell(ax.yaxis, "percent")

    def _draw_scores(self) -> None:
        if self.facts["pca"]["kept"] < 2 or not list(self.run.results.glob(f"{results.SCORES}/*.parquet")):
            return
        table = results.read_scores(self.run.results)
        labels = np.array(table["label"].to_pylist())
        fruits = np.array([label.partition(" ")[0] for label in labels])
        named = fruits if len(set(fruits)) > 2 else labels
        rows = np.unique(np.linspace(0, len(table) - 1, _POINTS).astype(int))
        plane = to_matrix(table["pca"].combine_chunks())[rows, :2]
        found, sizes = np.unique(named[rows], return_counts=True)
        shown = found[np.argsort(-sizes, kind="stable")][:_NAMED]
        with self._axes("scores", x="axis.first", y="axis.second", grid="both") as ax:
            rest = ~np.isin(named[rows], shown)
            dots: dict[str, Any] = {"linewidths": 0, "rasterized": True}
            ax.scatter(plane[rest, 0], plane[rest, 1], s=14, color=GREY, alpha=0.5, **dots)
            for colour, name in zip(PALETTE, shown, strict=False):
                here = plane[named[rows] == name]
                ax.scatter(here[:, 0], here[:, 1], s=22, color=colour, alpha=0.75, label=str(name), **dots)
            legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, handletextpad=0.2)
            for handle in filter(None, legend.legend_handles):
                handle.set(alpha=1, sizes=[130])
            ax.set(xticks=[], yticks=[])

    def _draw_accuracy(self) -> None:
        rates = self.run.read_table("model_info/quality.csv")
        rates = rates[rates["classifier"] == "nn1"] if len(rates) else rates
        if rates.empty:
            return
        ks = order_ks(rates["k"].astype(str))
        with self._axes("accuracy", x="axis.k", y="axis.accuracy") as ax:
            for colour, (split, part) in zip(PALETTE, rates.groupby("split", sort=False), strict=False):
                places = [ks.index(str(k)) for k in part["k"]]
                official, ways = split == "official", str(split).split("->")
                name = self.texts["axis.official"] if official else f"{self.texts['axis.film']} {' → '.join(ways)}"
                ax.fill_between(places, part["low"], part["high"], color=colour, alpha=0.12, linewidth=0)
                style: dict[str, Any] = {"linestyle": "-" if official else "--", "color": colour, "label": name}
                ax.plot(places, part["accuracy"], marker="o", markersize=8, linewidth=3, **style)
            ax.set_xticks(range(len(ks)), [self.texts["axis.all"] if k == "all" else k for k in ks])
            ax.legend(loc="lower right", frameon=False)
            ax.set_ylim(0, 1.03)
            self._spell(ax.yaxis, "percent")

    def _draw_throughput(self) -> None:
        bench = self.facts["bench"]
        if not bench:
            return
        with self._axes("throughput", x="axis.images", y="axis.rate") as ax:
            looks = zip(bench["curves"].items(), ("-", "-", "--"), (5, 0, 6), strict=True)
            for (name, curve), style, colour in looks:
                x, y = zip(*sorted(curve.items()), strict=True)
                label = self.texts[f"axis.{name}"]
                ax.plot(x, y, style, marker="o", markersize=9, linewidth=3, color=PALETTE[colour], label=label)
            ax.set_xscale("log")
            ax.set_xticks(sizes := sorted({at for curve in bench["curves"].values() for at in curve}))
            ax.minorticks_off()
            ax.set_xticklabels([self.language.format(at, "count") for at in sizes])
            ax.set_ylim(bottom=0)
            ax.legend(loc="lower right", frameon=False)
