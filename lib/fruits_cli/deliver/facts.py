"""Every fact that a deliverable states of a run: from its manifest, its tables, its cluster, and the benchmark."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from fruits import eventlog, folders, results
from fruits.comparison.runs import matches_manifest, read_cluster
from fruits.errors import UsageError
from fruits.manifest import list_rates
from fruits.networks import NETWORKS
from fruits.params import find_repository, load_params
from fruits.tables import FORMATS, CsvFormat
from fruits_cli.choice import read_manifest

# Where `scripts/aws_setup.sh` puts what a cluster computed.
_DOWNLOADED = {"report_dir": "reports", "output_dir": "data/emr_output"}
_CONFUSIONS = 7
_DATASET = "Fruits-360"
BENCHMARK = Path("benchmarks/results/full.json")


@dataclass(frozen=True)
class Run:
    """A finished run: folders of its report and of its results, its manifest, `cluster.json` if AWS computed it."""

    report: Path
    results: Path
    manifest: dict[str, Any]
    cluster: dict[str, Any] | None = None

    def read_table(self, name: str | Path, *, rows: int | None = None) -> pd.DataFrame:
        """Read a CSV file of the results, or its first rows; empty if it is not there."""
        form = FORMATS[self.manifest["params"].get("csv", "international")]
        return _read_table(self.results / name, form, rows=rows)

    @cached_property
    def images(self) -> pd.DataFrame:
        """The images that have features."""
        return self.read_table(results.METADATA)

    def read_spark(self, name: str) -> pd.DataFrame:
        """Read a CSV file made from Spark's event log; empty if it is not there."""
        return _read_table(self.report / eventlog.FOLDER / name, FORMATS["international"])


def _read_table(file: Path, form: CsvFormat, *, rows: int | None = None) -> pd.DataFrame:
    return form.read_table(file, rows=rows) if file.is_file() else pd.DataFrame()


def find_run(name: str, *, target: str, settings: Mapping[str, str]) -> Run:
    """Find a finished run by its mode or name; one of AWS where `aws_setup.sh` downloads it.

    `settings` may name other folders, `report_dir` and `output_dir`. UsageError if there is no report of it, or its
    results are missing or of another run.
    """
    if unknown := settings.keys() - _DOWNLOADED.keys():
        raise UsageError(f"--set {sorted(unknown)[0]}: allowed here: {', '.join(_DOWNLOADED)}.")
    remote = target == "emr"
    base = load_params("FULL", "local" if remote else target, {**(_DOWNLOADED if remote else {}), **settings})
    report = base.path("report_dir") / target / name
    manifest = read_manifest(report)
    asked = remote or "output_dir" in settings
    output = base.output_dir if asked else manifest["params"].get("output_dir", base.output_dir)
    run = Run(report, folders.resolve(output, base=find_repository()) / name, manifest, read_cluster(report) or None)
    shares = run.read_table(results.VARIANCE)
    if not matches_manifest(shares, manifest):
        wrong = "no results" if shares.empty else "results of another run"
        brought = "download them: scripts/aws_setup.sh download-results" if remote else "run again"
        raise UsageError(f"{run.results} holds {wrong} for {report}; {brought}, or --set output_dir.")
    return run


# Ours and what it is compared with, by the names of the benchmark's jobs.
PAIRS = {
    "naive": ("ours, warm @ 364", "naive UDF, warm @ 300"),
    "graph": ("ours @ 1600", "tf.function UDF @ 1600"),
    "plain": ("ours @ 6404", "two plain processes @ 6404"),
    "full": ("ours @ 67692", "two plain processes @ 67692"),
    "pca": ("ours, PCA", "pyspark PCA"),
}
_SIZES = (300, 640, 1_600, 6_404, 67_692)
_SCALE = (640, 6_404, 67_692)
_CURVES = ("ours", "ours, warm", "two plain processes")


def gather_facts(run: Run) -> dict[str, Any]:
    """Return what texts may name: the manifest's own keys, `cluster`, `found` and `bench`; what is unknown is None."""
    model = run.manifest["model"]
    images, shares = run.images, run.read_table(results.VARIANCE)
    network = NETWORKS[model.get("backbone", "mobilenet_v2")].application
    untrained = run.manifest["params"]["weights"] == "random"
    return {
        **run.manifest,
        "cluster": run.cluster and {**run.cluster, "size": sum(node["count"] for node in run.cluster["nodes"])},
        "bench": read_benchmark(),
        "found": {
            **find_accuracies(run),
            "network": network,
            "pretrained": None if untrained else network,
            "untrained": run.manifest["params"]["seed"] if untrained else None,
            "sent": _count_sent(run.manifest),
            "dataset": _DATASET if _DATASET.lower() in run.manifest["params"]["input_dir"].lower() else None,
            "cloud": run.manifest["target"] if run.manifest["target"] == "emr" else None,
            "seconds": sum(run.manifest["seconds"].values()),
            "classes": int(images["label"].nunique()) if len(images) else None,
            "plane": float(shares["cumulative"].iloc[min(1, len(shares) - 1)]) if len(shares) else None,
        },
    }


def _count_sent(manifest: dict[str, Any]) -> dict[str, int] | None:
    """Return the bytes of weights that travel: by a broadcast, once to an executor; in a closure, with each task.

    None if nothing was computed, or if there is no event log to say how many executors there were.
    """
    spark = manifest.get("spark") or {}
    executors, cores = spark.get("executors"), max(1, spark.get("cores", 1))
    # As `extraction.cut_batches`: all cores have the same number of tasks.
    rounds = math.ceil(manifest["counts"]["computed"] / (cores * manifest["params"].get("images_per_task", math.inf)))
    tasks = rounds * cores
    if not executors or tasks <= executors:
        return None
    size = manifest["model"]["bytes"]
    return {"tasks": tasks, "by_broadcast": executors * size, "by_closure": tasks * size}


def find_accuracies(run: Run) -> dict[str, Any]:
    """Return how often the nearest neighbour is right with the components that are enough, and the worst confusion.

    `films` is the range of two or more tests by group; `film` the lowest of one or more.
    """
    enough = (run.manifest.get("quality") or {}).get("components_within_one_point") or {}
    k, every = enough.get("by_group") or enough.get("official"), run.manifest["model"]["features"]
    tests = list_rates(run.manifest)
    rates = {name: rate[key] for name, rate in tests.items() if (key := "all" if k == every else str(k)) in rate}
    official, films = rates.pop("official", None), sorted(rates.values())
    return {
        "k": k,
        "official": official,
        "film": films[0] if films else None,
        "films": {"lowest": films[0], "highest": films[-1]} if len(films) > 1 else None,
        "two": tests.get("official", {}).get("2"),
        "confusion": next(iter(list_confusions(run)), None),
    }


def list_confusions(run: Run) -> list[dict[str, Any]]:
    """Return the confusions of the most images, as rows of `confusions.csv`, the largest share of a class first."""
    table = run.read_table("model_info/confusions.csv").head(_CONFUSIONS)
    return table.sort_values("share", ascending=False, kind="stable").to_dict("records") if len(table) else []


def read_benchmark() -> dict[str, Any] | None:
    """Return what the full benchmark measured, each rate the median of its runs; None if its file is not there."""
    file = (find_repository() or Path()) / BENCHMARK
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    jobs = {name: runs for part in found["parts"].values() for name, runs in part.items()}
    rates = {
        name: float(median(run["images"] / run["seconds"] for run in runs))
        for name, runs in jobs.items()
        if "images" in runs[0]
    }
    curves: dict[str, dict[int, float]] = {
        name: {at: rates[job] for at in _SIZES if (job := f"{name} @ {at}") in rates} for name in _CURVES
    }
    scale = {at: (curves["ours"] | curves["ours, warm"])[at] for at in _SCALE}
    return {
        "machine": found["machine"],
        "curves": curves,
        "images": {"fewest": min(scale), "most": max(scale)},
        "rates": {"lowest": min(scale.values()), "highest": max(scale.values())},
        **{
            name: {"ours": rates[ours], "other": rates[other], "ratio": rates[ours] / rates[other]}
            | {"images": jobs[other][0]["images"]}
            for name, (ours, other) in PAIRS.items()
        },
    }
