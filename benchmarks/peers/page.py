"""Figures of the peers to documentation/PEERS.md and its plot."""

import string
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.catalogue import FOLDER, PCAS, PEERS, count_lines
from benchmarks.report import _table

TEMPLATE = FOLDER / "peers.md"
OURS = "ours"

# Images of the small run, by which the start of a way is told from its rate.
SMALL = 64


def write_page(found: dict[str, Any], folder: Path) -> None:
    """Write PEERS.md and figures/peers.png into a folder."""
    from matplotlib import pyplot as plt

    (folder / "figures").mkdir(exist_ok=True)
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    draw_rates(rates_of(found), ax)
    figure.savefig(folder / "figures" / "peers.png", dpi=110)
    plt.close(figure)
    machine = ", ".join(f"{key} {value}" for key, value in found.get("machine", {}).items())
    text = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        machine=machine,
        images=f"{found.get('images', 0):,}",
        speed=_table(_SPEED, speed_rows(found)),
        trouble=_table(
            ["way", "one of 64 files cut in half", "killed at half", "lost, s", "processes left"], trouble_rows(found)
        ),
        ahead="\n".join(f"- {sentence}" for sentence in name_ahead(found)),
        jvm=_peak(_good(found.get("runs", {}).get(OURS, [])), "largest"),
        pca=_table(
            ["PCA", "whole command, s", "memory of all, MiB", "largest process, MiB", "largest difference of a share"],
            pca_rows(found),
        ),
        failures="\n".join(f"- {sentence}" for sentence in name_failures(found)) or "None failed.",
    )
    (folder / "PEERS.md").write_text(text, encoding="utf-8")


_SPEED = [
    *("way", "engine", "images", "images/s, start included", "whole command, s", "start, s", "images/s after it"),
    *("memory of all, MiB", "lines", "largest difference from ours"),
]


def rates_of(found: dict[str, Any]) -> dict[str, list[float]]:
    """Return images a second of each run that ended well, by way."""
    rates = {
        name: [run["images"] / run["seconds"] for run in _good(runs)] for name, runs in found.get("runs", {}).items()
    }
    return {name: values for name, values in rates.items() if values}


def draw_rates(rates: dict[str, list[float]], ax: Any) -> None:
    """Draw a bar for each way, the fastest on top, and a dot for each run."""
    ordered = sorted(rates, key=lambda name: median(rates[name]))
    colours = ["#b3361e" if name.startswith(OURS) else "#4a6c8c" for name in ordered]
    ax.barh(ordered, [median(rates[name]) for name in ordered], color=colours, alpha=0.75)
    for place, name in enumerate(ordered):
        ax.plot(rates[name], [place] * len(rates[name]), "k.", markersize=4)
        ax.annotate(f" {median(rates[name]):.1f}", (max(rates[name]), place), va="center", fontsize=8)
    ax.set(xlabel="images a second on 2 cores, start included (a dot is a run)")
    ax.set_title("JPEG files to features in Parquet, the whole command", loc="left")
    ax.spines[["top", "right"]].set_visible(False)


def split_start(found: dict[str, Any], name: str) -> tuple[float, float] | None:
    """Return seconds of start, and images a second after it: a line through medians of the whole and the small runs."""
    many, few = (_good(found.get(key, {}).get(name, [])) for key in ("runs", "small"))
    if not many or not few:
        return None
    seconds, short = (median(run["seconds"] for run in side) for side in (many, few))
    if seconds <= short or many[0]["images"] <= SMALL:
        return None
    rate = (many[0]["images"] - SMALL) / (seconds - short)
    return short - SMALL / rate, rate


def speed_rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row of figures for each way; of one that never ended well, what it said."""
    rows: list[tuple[Any, ...]] = []
    for peer in PEERS:
        runs = found.get("runs", {}).get(peer.name, [])
        good = _good(runs)
        if not good:
            said = "failed" if runs else "not measured"
            rows.append((peer.name, peer.engine, "", said, *[""] * 4, peer.count_lines(), ""))
            continue
        gap = max((run["gap"] for run in good if run.get("gap") is not None), default=None)
        rates, seconds = rates_of(found)[peer.name], [run["seconds"] for run in good]
        start = tuple(f"{value:.1f}" for value in split_start(found, peer.name) or ()) or ("", "")
        figures = (f"{good[0]['images']:,}", _spread(rates), _spread(seconds), *start, _peak(good, "family"))
        ends = (peer.count_lines(), "unknown" if gap is None else f"{gap:.1g}")
        rows.append((peer.name, peer.engine, *figures, *ends))
    return rows


def trouble_rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a cut file and a kill did to each way."""
    rows = []
    for peer in PEERS:
        cut, killed = found.get("cut", {}).get(peer.name), found.get("killed", {}).get(peer.name)
        left = ", ".join(sorted(set(killed["killed"]["left"]))) or "none" if killed else ""
        verdict = cut["verdict"] if cut else "not tried"
        lost = f"{killed['lost']:.0f} of {killed['killed']['seconds']:.0f}" if killed else ""
        rows.append((peer.name, verdict, judge_kill(killed) if killed else "not tried", lost, left))
    return rows


def judge_kill(killed: dict[str, Any]) -> str:
    """Say what a second run made of what a killed one left."""
    again, rows, images = killed["again"], killed["rows"], killed["images"]
    if not again:
        return "no file was left"
    if again["code"]:
        return f"the second run refuses: {again['said'][:100]}".replace("|", "/")
    if rows != images:
        return f"the second run leaves {rows:,} rows for {images:,} images"
    saved = killed["lost"] < killed["killed"]["seconds"] / 2
    return "the second run uses what the first had done" if saved else "the second run does everything again"


def pca_rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row of figures for each PCA."""
    fits = {name: _good(found.get("pca", {}).get(name, [])) for name in PCAS}
    rows: list[tuple[Any, ...]] = []
    for name, runs in fits.items():
        if not runs:
            rows.append((name, "not measured or failed", "", "", ""))
            continue
        gap = "unknown"
        if fits[OURS]:
            pairs = zip(runs[-1]["shares"], fits[OURS][-1]["shares"], strict=True)
            gap = f"{max(abs(one - other) for one, other in pairs):.1g}"
        rows.append(
            (name, _spread([run["seconds"] for run in runs]), _peak(runs, "family"), _peak(runs, "largest"), gap)
        )
    return rows


def name_ahead(found: dict[str, Any]) -> list[str]:
    """Name in each column who is ahead of ours and by how much; why, as far as the figures tell it."""
    columns = {
        "images a second": (_rate, True),
        "memory of all, MiB": (_memory, False),
        "lines": (_lines, False),
        "seconds lost by a kill": (_lost, False),
    }
    sentences = []
    for column, (read, high) in columns.items():
        values = {peer.name: value for peer in PEERS if (value := read(found, peer.name)) is not None}
        mine = values.get(OURS)
        if mine is None:
            continue
        for name, value in values.items():
            if not name.startswith(OURS) and (value > mine if high else value < mine):
                why = _compare_starts(found, name) if high else ""
                sentences.append(f"**{name}** in {column}: {value:,.0f}, ours {mine:,.0f}.{why}")
    return sentences or ["Nobody is ahead of ours in a column."]


def _compare_starts(found: dict[str, Any], name: str) -> str:
    theirs, mine = split_start(found, name), split_start(found, OURS)
    if not theirs or not mine:
        return ""
    return (
        f" It starts in {theirs[0]:.1f} s and then makes {theirs[1]:.0f} images/s; "
        f"ours {mine[0]:.1f} s and {mine[1]:.0f} images/s."
    )


def name_failures(found: dict[str, Any]) -> list[str]:
    """Say of each run that failed what it said last."""
    sides = {**found.get("runs", {}), **{f"PCA of {name}": fits for name, fits in found.get("pca", {}).items()}}
    return [
        f"{name}: exit code {run['code']}, {run['said']}" for name, runs in sides.items() for run in runs if run["code"]
    ]


def _good(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [run for run in runs if not run["code"]]


def _peak(runs: list[dict[str, Any]], key: str) -> str:
    return f"{max((run['peak_mib'].get(key, 0) for run in runs), default=0):,}"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f} (n=1)"
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f}, n={len(values)})"


def _rate(found: dict[str, Any], name: str) -> float | None:
    rates = rates_of(found).get(name)
    return median(rates) if rates else None


def _memory(found: dict[str, Any], name: str) -> float | None:
    good = _good(found.get("runs", {}).get(name, []))
    return max(run["peak_mib"].get("family", 0) for run in good) if good else None


def _lines(found: dict[str, Any], name: str) -> float | None:
    return next(count_lines(*peer.code) for peer in PEERS if peer.name == name)


def _lost(found: dict[str, Any], name: str) -> float | None:
    killed = found.get("killed", {}).get(name)
    return killed["lost"] if killed else None
