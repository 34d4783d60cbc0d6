"""Beyond the machine of the benchmarks: what is reckoned from its figures, and from the prices of emr/cluster.yaml."""

import dataclasses
from statistics import median
from typing import Any

from emr.costs import estimate_hour, estimate_images
from emr.settings import Settings, load_settings

Runs = dict[str, list[dict[str, Any]]]
TABLES = (100_000, 1_000_000, 10_000_000)
AIM = 100_000_000
KINDS = ("driver", "jvm", "worker")
STEPS = ("extraction", "PCA", "scores")
MILLION = 1_000_000
# What a million images cost on: type of all nodes, on demand, on the spot market.
CLUSTERS = (("m5.xlarge", 2, 0), ("m5.xlarge", 1, 3), ("c7g.xlarge", 1, 3), ("c7g.xlarge", 1, 15))


def read_tables(runs: Runs) -> dict[str, dict[int, float]]:
    """Return seconds of each step and MiB of each process by the number of images.

    The seconds of the aim go on in a straight line from the two largest sizes; its memory is that of as many tasks.
    """
    found = {at: runs[f"table @ {at}"] for at in (*TABLES, AIM) if f"table @ {at}" in runs}
    lines = {step: {at: median(run["steps"][step] for run in found[at]) for at in found if at != AIM} for step in STEPS}
    for line in lines.values():
        (before, low), (last, high) = list(line.items())[-2:]
        line[AIM] = high + (high - low) * (AIM - last) / (last - before)
    peaks = {kind: {at: max(run["peak_mib"][kind] for run in found[at]) for at in found} for kind in KINDS}
    return lines | peaks


def list_tables(runs: Runs) -> list[tuple[str, ...]]:
    """Return the rows of the table of made-up images."""
    lines = read_tables(runs)
    return [
        (
            f"{at:,}" + ", reckoned" * (at == AIM),
            *(say(lines[step][at]) for step in STEPS),
            ", ".join(f"{lines[kind][at]:.0f}" for kind in KINDS),
        )
        for at in lines["PCA"]
    ]


def list_extractions(core: float) -> list[tuple[str, ...]]:
    """Return the wall time of extractions from the images a second of a core; a worker has 4 vCPU."""
    rows = []
    for images in (MILLION, AIM):
        hours = images / core / 3600
        rows.append((f"{images:,}", f"{hours:.2f}", *(say(3600 * hours / (4 * workers)) for workers in (2, 20, 200))))
    return rows


def list_costs() -> list[tuple[str, ...]]:
    """Return the rows of the table of money, US dollars."""
    rows = []
    for kind, core, spot in CLUSTERS:
        types = [f"{role}_type={kind}" for role in ("primary", "core", "task")]
        settings = load_settings([*types, f"core_count={core}", f"task_count={spot}"])
        cost = estimate_images(settings, MILLION)
        files = estimate_images(settings, MILLION, packed=False).total
        fast = dataclasses.replace(settings, speed={**settings.speed, "margin": 1.0})
        more = (_estimate_more(settings), _estimate_more(fast))
        name = f"{core} {kind}" + f" and {spot} spot" * (spot > 0)
        rows.append((name, f"{cost.minutes:.0f}", *(f"{usd:.2f}" for usd in (files, cost.total, *more))))
    return rows


def _estimate_more(settings: Settings) -> float:
    """Return what each further million costs in the same run."""
    return estimate_images(settings, 2 * MILLION).total - estimate_images(settings, MILLION).total


def name_figures(runs: Runs) -> dict[str, str]:
    """Return the figures that the words of the section hold."""
    listing, pca, settings = runs["million listing"][-1], runs["million PCA"][-1], load_settings()
    return {
        "listed": f"{listing['seconds']:.0f}",
        "listing_mib": f"{listing['table_mib']:.0f}",
        "listing_peak": str(listing["peak_mib"]["driver"]),
        "pca_seconds": f"{pca['seconds']:.0f}",
        **{f"pca_{kind}": str(pca["peak_mib"][kind]) for kind in KINDS},
        "prices": str(settings.prices["date"]),
        "start": str(settings.speed["start_minutes"]),
        "margin": str(settings.speed["margin"]),
        "idle": f"{estimate_hour(settings).total * settings.idle_minutes / 60:.2f}",
    }


def say(seconds: float) -> str:
    """Write a time in its usual unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
