"""When Spark's stages and tasks ran."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from fruits.eventlog import SparkRun
from fruits.plots.style import BLUE, GREY, INK, PALETTE, RED, tidy

# Rows of text that can be read in one plot.
_NAMED = 12
# A task of a millisecond is still seen: a share of the whole time.
_THIN = 0.002


def plot_stages(stages: pd.DataFrame, *, ax: Axes) -> Axes:
    """Plot a bar from start to end for each stage, the first one on top; the 12 longest are named, failures are red."""
    whole = _find_end(stages)
    named = set(stages["seconds"].nlargest(_NAMED).index)
    rows = range(len(stages))
    colours = [RED if failed else BLUE for failed in stages["failed"]]
    ax.barh(rows, stages["seconds"].clip(lower=_THIN * whole), left=stages["started"], color=colours, height=0.8)
    for row, (index, stage) in zip(rows, stages.iterrows(), strict=True):
        if index in named:
            early = stage["started"] + stage["seconds"] / 2 < whole / 2
            place = stage["started"] + (stage["seconds"] if early else 0)
            text = f" {stage['stage']}: {stage['name']}, {stage['tasks']} task{'s' * (stage['tasks'] != 1)} "
            side = "left" if early else "right"
            # A long text must not make the axes narrow.
            ax.text(place, row, text, ha=side, va="center", fontsize=7, color=INK, clip_on=True).set_in_layout(False)
    ax.set(title="Spark's stages", ylabel="Stage", ylim=(max(len(stages), 1) - 0.5, -0.5), yticks=[])
    longest = stages.loc[stages["seconds"].idxmax(), "name"] if len(stages) else "none"
    ax.set_label(f"{len(stages)} stages of Spark over {whole:.0f} s; the longest is {longest}")
    return _tidy_time(ax, whole)


def plot_tasks(tasks: pd.DataFrame, *, ax: Axes) -> Axes:
    """Plot a bar for each task, in as many lanes for each executor as it had tasks at one time, coloured by stage."""
    whole = _find_end(tasks)
    colours = {stage: PALETTE[place % 6] for place, stage in enumerate(sorted(tasks["stage"].unique()))}
    top, middles = 0, {}
    for executor, of_executor in tasks.groupby("executor", sort=True):
        lanes = _find_lanes(of_executor)
        bars = of_executor["seconds"].clip(lower=_THIN * whole)
        rows = top + np.array(lanes)
        left, right, low, high = of_executor["started"], of_executor["started"] + bars, rows - 0.425, rows + 0.425
        corners = np.transpose([(left, low), (right, low), (right, high), (left, high)], (2, 0, 1))
        # One collection: 20,000 bars of their own take half a minute.
        colour = [colours[stage] for stage in of_executor["stage"]]
        ax.add_collection(PolyCollection(list(corners), facecolors=colour, linewidths=0))
        middles[str(executor)] = top + max(lanes) / 2
        top += max(lanes) + 1
        ax.axhline(top - 0.5, color=GREY, linewidth=0.6)
    ax.set(title="Tasks on each executor, coloured by stage", ylabel="Executor", ylim=(max(top, 1) - 0.5, -0.5))
    step = -(-len(middles) // (2 * _NAMED)) or 1
    ax.set_yticks(list(middles.values())[::step], list(middles)[::step])
    ax.set_label(f"{len(tasks):,} tasks; executors: {', '.join(middles) or 'none'}; at most {top} tasks at one time")
    return _tidy_time(ax, whole)


def draw_spark(run: SparkRun, *, figure: Figure) -> Figure:
    """Draw `plot_stages` and `plot_tasks` on an empty figure, for which 4.8 x 6.6 inches are good."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    plot_stages(run.stages, ax=upper)
    plot_tasks(run.tasks, ax=lower)
    upper.set_xlabel("")
    return figure


def _find_end(table: pd.DataFrame) -> float:
    return float((table["started"] + table["seconds"]).max()) if len(table) else 1.0


def _find_lanes(tasks: pd.DataFrame) -> list[int]:
    """Return the lane of each task: the first that is free when it starts.

    Spark notes the end of a task a little after it has started the next one in its place.
    """
    free: list[float] = []
    lanes = dict.fromkeys(tasks.index, 0)
    for task in tasks.sort_values("started", kind="stable").itertuples():
        lane = next(
            (lane for lane, end in enumerate(free) if end <= task.started + min(0.2, task.seconds / 2)), len(free)
        )
        free[lane : lane + 1] = [task.started + task.seconds]
        lanes[task.Index] = lane
    return list(lanes.values())


def _tidy_time(ax: Axes, whole: float) -> Axes:
    ax.set(xlabel="Seconds since Spark started", xlim=(0, 1.02 * whole))
    return tidy(ax, grid="x")
