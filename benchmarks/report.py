"""Figures to a table, to plots and to documentation/PERFORMANCE.md."""

import string
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from benchmarks import outlook
from benchmarks.outlook import Runs

TEMPLATE = Path(__file__).parent / "performance.md"
_PEAK = "peak RSS, MiB: driver, JVM, worker"
_THROUGHPUT = ["images", "images/s, workers warm", "images/s, worker start included", _PEAK]


@dataclass(frozen=True)
class Comparison:
    """Ours beside a baseline: images a second of each run, and the ratio of the medians."""

    what: str
    ours: list[float]
    other: list[float]
    target: float | None

    @property
    def ratio(self) -> float:
        """Median of ours over median of the baseline."""
        return median(self.ours) / median(self.other)

    @property
    def verdict(self) -> str:
        """Say whether the target is met."""
        return "" if self.target is None else "met" if self.ratio >= self.target else "**not met**"


@dataclass(frozen=True)
class Pair:
    """What is compared: title, our runs, the baseline's runs at a size, target of the ratio, and by which clock."""

    what: str
    ours: str
    other: str
    at: int = 0
    target: float | None = None
    clock: str = "seconds"


PAIRS = [
    Pair("extraction, {n} JPEG files to Parquet / two plain processes", "ours", "two plain processes", 6_404, 0.93),
    Pair("the same, {n} (FULL size)", "ours", "two plain processes", 67_692, 0.97),
    Pair("the same, {n}", "ours", "two plain processes", 1_600),
    Pair("the same, {n} / LiteRT alone, from memory", "ours", "LiteRT alone", 6_404),
    Pair("two plain processes, {n} / LiteRT alone", "two plain processes", "LiteRT alone", 6_404),
    Pair("extraction, {n} / iterator UDF with tf.function", "ours", "tf.function UDF", 1_600, 2.5),
    Pair("extraction, {n} / iterator UDF with tf.function", "ours", "tf.function UDF", 640, 2.5),
    Pair("extraction, {n} / naive UDF, workers warm in both", "ours, warm", "naive UDF, warm", 300, 10),
    Pair("extraction, {n} / naive UDF, worker start in both", "ours", "naive UDF", 300),
    Pair("whole job, {n} / naive UDF: imports, JVM and all", "ours", "naive UDF", 300, clock="job"),
    Pair("packed shards / files, {n}", "ours, packed", "ours", 6_404),
    Pair("workers open files / Spark's binaryFile, {n}", "ours", "ours, binaryFile", 6_404),
    Pair("input of 128 pixels / 224, {n}, workers warm", "ours, 128 pixels", "ours, 224 pixels", 6_404, 2.5),
    Pair("PCA fit, 67,692 x 1280, k = 200 / pyspark.ml PCA", "ours, PCA", "pyspark PCA", target=12),
    Pair("the same, sessions warm", "ours, PCA, warm", "pyspark PCA, warm", target=12),
]


def compare(runs: Runs) -> list[Comparison]:
    """Return the comparisons for which both sides were measured."""
    found = []
    for pair in PAIRS:
        left, right = _find(runs, pair.ours, pair.at), _find(runs, pair.other, pair.at)
        if left and right:
            ours, other = (_rates(side, clock=pair.clock) for side in (left, right))
            found.append(Comparison(pair.what.format(n=f"{pair.at:,}"), ours, other, pair.target))
    return found


def print_table(runs: Runs) -> None:
    """Print the comparisons and the times of whole runs."""
    for row in compare(runs):
        target = f"target {row.target:g} {row.verdict.strip('*')}" if row.target else ""
        click.echo(f"{row.what:75s} {median(row.ours):7.1f} {median(row.other):7.1f} {row.ratio:6.2f}  {target}")
    for key in ("make run, first", "make run", "fruits run FULL"):
        if key in runs:
            click.echo(f"{key:75s} {median(run['seconds'] for run in runs[key]):7.1f} s")


def write_performance(runs: Runs, folder: Path, *, machine: dict[str, Any]) -> None:
    """Write PERFORMANCE.md and its plots."""
    steps, spent = runs["milliseconds"][0]["steps"], _spend(runs)
    _draw_figures(runs, folder / "figures")
    text = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        machine=", ".join(f"{key} {value}" for key, value in machine.items()),
        comparisons=_table(
            ["what", "ours", "baseline", "ratio", "target", ""],
            [
                (c.what, _spread(c.ours), _spread(c.other), f"{c.ratio:.2f}", c.target or "", c.verdict)
                for c in compare(runs)
            ],
        ),
        gap=f"{_gap(runs):.1e}",
        throughput=_table(_THROUGHPUT, _throughput_rows(runs)),
        flat=f"{_spread_of_sizes(runs):.0%}",
        files=runs["ours @ 67692"][-1]["files"],
        steps=_table(["step", "ms"], [(name, f"{value:.2f}") for name, value in steps.items()]),
        spent=f"{spent:.2f}",
        sections=_table(["where", "first run, s", "cached, s"], _section_rows(runs)),
        full=_table(["stage", "s"], _full_rows(runs)),
        tables=_table(["images", *outlook.STEPS, _PEAK], outlook.list_tables(runs)),
        extractions=_table(
            ["images", "vCPU-hours", "2 workers", "20 workers", "200 workers"],
            outlook.list_extractions(_middle(runs, "ours", 67_692) / 2),
        ),
        costs=_table(
            ["nodes beside the primary", "minutes", "files", "packed", "packed, each further", "... on cores as fast"],
            outlook.list_costs(),
        ),
        **outlook.name_figures(runs),
    )
    (folder / "PERFORMANCE.md").write_text(text, encoding="utf-8")


def _spend(runs: Runs) -> float:
    """Return the milliseconds of a core that an image takes: two cores work at once."""
    return 2000 / _middle(runs, "ours", 67_692)


def _draw_figures(runs: Runs, folder: Path) -> None:
    from benchmarks.figures import draw_milliseconds, draw_scale, draw_throughput

    folder.mkdir(exist_ok=True)
    draw_throughput(_throughput(runs), alone=_middle(runs, "LiteRT alone"), file=folder / "throughput.png")
    draw_scale(outlook.read_tables(runs), folder / "scale.png")
    steps = runs["milliseconds"][0]["steps"]
    draw_milliseconds({**steps, "Spark, Parquet, two busy cores": _spend(runs) - sum(steps.values())}, folder)


def _find(runs: Runs, name: str, at: int) -> list[dict[str, Any]]:
    """Find the runs of a job at a size; a job whose size does not matter has one name; warm runs spend 64 images."""
    warm_up = 64 if name == "ours, warm" else 0
    return runs.get(f"{name} @ {at}") or runs.get(f"{name} @ {at + warm_up}") or runs.get(name) or []


def _rates(runs: list[dict[str, Any]], *, clock: str = "seconds") -> list[float]:
    return [run["images"] / run[clock] for run in runs]


def _middle(runs: Runs, name: str, at: int = 0) -> float:
    return median(_rates(_find(runs, name, at)))


def _spread(rates: list[float]) -> str:
    if len(rates) == 1:
        return f"{rates[0]:.0f}"
    return f"{median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f}, n={len(rates)})"


def _gap(runs: Runs) -> float:
    ours, theirs = (runs[name][0]["shares"] for name in ("ours, PCA", "pyspark PCA"))
    return float(abs(np.subtract(ours, theirs)).max())


def _throughput(runs: Runs) -> dict[str, dict[int, list[float]]]:
    sizes = (300, 640, 1_600, 6_404, 67_692)
    lines = {
        "worker start included": "ours",
        "workers warm": "ours, warm",
        "two plain processes": "two plain processes",
    }
    return {
        label: {at: _rates(_find(runs, name, at)) for at in sizes if _find(runs, name, at)}
        for label, name in lines.items()
    }


def _throughput_rows(runs: Runs) -> list[tuple[Any, ...]]:
    rows = []
    for at in (640, 6_404, 67_692):
        warm, cold = (_find(runs, name, at) for name in ("ours, warm", "ours"))
        peaks = [run["peak_mib"] for run in cold or warm]
        memory = ", ".join(str(max(peak.get(kind, 0) for peak in peaks)) for kind in ("driver", "jvm", "worker"))
        rows.append((f"{at:,}", *(_spread(_rates(found)) if found else "" for found in (warm, cold)), memory))
    return rows


def _spread_of_sizes(runs: Runs) -> float:
    """How far apart the rates of the three sizes lie, as a share of the highest."""
    found = [_find(runs, "ours, warm", at) or _find(runs, "ours", at) for at in (640, 6_404, 67_692)]
    rates = [median(_rates(side)) for side in found]
    return 1 - min(rates) / max(rates)


def _section_rows(runs: Runs) -> list[tuple[str, str, str]]:
    first, cached = runs["make run, first"], runs["make run"]
    rows = [
        (name, *(f"{median(run['sections'][name] for run in found):.1f}" for found in (first, cached)))
        for name in first[0]["sections"]
    ]
    total = (f"**{median(run['seconds'] for run in found):.1f}**" for found in (first, cached))
    return [*rows, ("**together**", *total)]


def _full_rows(runs: Runs) -> list[tuple[str, str]]:
    (run,) = runs["fruits run FULL"]
    stages = dict(run["sections"])
    rest = run["seconds"] - sum(stages.values())
    named = {**stages, "imports, kernel, Spark, figures": rest, "**together**": run["seconds"]}
    return [(stage, f"{seconds:.1f}") for stage, seconds in named.items()]


def _table(head: list[str], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
