"""Every fact that a deliverable states of a run: from its manifest, its tables, its cluster, and the benchmark."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fruits import folders, results
from fruits.errors import UsageError
from fruits.manifest import list_rates
from fruits.params import find_repository, load_params
from fruits.tables import FORMATS
from fruits_cli.choice import read_manifest

if TYPE_CHECKING:
    import pandas as pd

# Where `scripts/aws_setup.sh` puts what a cluster computed.
_DOWNLOADED = {"report_dir": "reports", "output_dir": "data/emr_output"}
_BENCHMARK = Path("benchmarks/results/full.json")


@dataclass(frozen=True)
class Run:
    """A finished run: folders of its report and of its results, its manifest, `cluster.json` if AWS computed it."""

    report: Path
    results: Path
    manifest: dict[str, Any]
    cluster: dict[str, Any] | None = None

    def read_table(self, name: str | Path, *, rows: int | None = None) -> "pd.DataFrame":
        """Read a CSV file of the results, or its first rows; empty if it is not there."""
        form = FORMATS[self.manifest["params"].get("csv", "international")]
        return self._read(self.results / name, form, rows=rows)

    def read_spark(self, name: str) -> "pd.DataFrame":
        """Read a CSV file made from Spark's event log; empty if it is not there."""
        return self._read(self.report / "spark" / name, FORMATS["international"])

    @staticmethod
    def _read(file: Path, form: Any, *, rows: int | None = None) -> "pd.DataFrame":
        import pandas as pd

        if not file.is_file():
            return pd.DataFrame()
        with file.open("rb") as stream:
            return pd.read_csv(
                stream,
                sep=form.delimiter,
                decimal=form.decimal,
                encoding=form.encoding,
                keep_default_na=False,
                # A class may be called 007.
                dtype=dict.fromkeys(("label", "predicted", "neighbours_label"), str),
                nrows=rows,
            )


def find_run(name: str, *, target: str, settings: Mapping[str, str]) -> Run:
    """Find a finished run by its mode or name; one of AWS where `aws_setup.sh` downloads it.

    `settings` may name other folders, `report_dir` and `output_dir`.

    Raises
    ------
    UsageError
        If there is no report of it, or the results are of another run.
    """
    if unknown := settings.keys() - _DOWNLOADED.keys():
        raise UsageError(f"--set {sorted(unknown)[0]}: allowed here: {', '.join(_DOWNLOADED)}.")
    remote = target == "emr"
    base = load_params("FULL", "local" if remote else target, {**(_DOWNLOADED if remote else {}), **settings})
    report = base.path("report_dir") / target / name
    manifest = read_manifest(report)
    asked = remote or "output_dir" in settings
    output = base.output_dir if asked else manifest["params"].get("output_dir", base.output_dir)
    cluster = None
    with suppress(OSError, ValueError):
        cluster = json.loads((report / "cluster.json").read_bytes())
    run = Run(report, folders.resolve(output, base=find_repository()) / name, manifest, cluster)
    shares = run.read_table(results.VARIANCE)
    if len(shares) and abs(shares["cumulative"].iloc[-1] - manifest["pca"]["cumulative"]) > 1e-9:
        raise UsageError(f"{run.results} holds results of another run than {report}; run again, or --set output_dir.")
    return run


def gather_facts(run: Run) -> dict[str, Any]:
    """Return what texts may name: the manifest's own keys, `cluster`, `found` and `bench`; what is unknown is None."""
    spark, model = run.manifest.get("spark") or {}, run.manifest["model"]
    sent = {key: spark[many] * model["bytes"] for key, many in _SENDERS.items() if spark.get(many)}
    return {
        **run.manifest,
        "cluster": run.cluster,
        "bench": read_benchmark(),
        "found": {**_find_quality(run), "sent": sent, "seconds": sum(run.manifest["seconds"].values())},
    }


# The model's bytes that travel: by a broadcast once to each executor, in a closure once to each task.
_SENDERS = {"by_broadcast": "executors", "by_closure": "tasks"}


def _find_quality(run: Run) -> dict[str, Any]:
    """Return how often the nearest neighbour is right with the components that are enough, and the worst confusion."""
    enough = (run.manifest.get("quality") or {}).get("components_within_one_point") or {}
    k = enough.get("by_group") or enough.get("official")
    key = "all" if k == run.manifest["model"]["features"] else str(k)
    rates = {name: rate[key] for name, rate in list_rates(run.manifest).items() if key in rate}
    official = rates.pop("official", None)
    films = {"lowest": min(rates.values()), "highest": max(rates.values())} if rates else None
    confusions, images = run.read_table("model_info/confusions.csv"), run.read_table(results.METADATA)
    return {
        "k": k,
        "official": official,
        "films": films,
        "confusion": confusions.iloc[0].to_dict() if len(confusions) else None,
        "classes": int(images["label"].nunique()) if len(images) else None,
    }


def read_benchmark() -> dict[str, Any] | None:
    """Return rates and ratios of the full benchmark, each the median of its runs; None where it is not known."""
    file = (find_repository() or Path()) / _BENCHMARK
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    return {"machine": found["machine"], "rates": {name: _rate(runs) for name, runs in found["runs"].items()}}


def _rate(runs: list[dict[str, Any]]) -> float | None:
    """Return the median of images a second."""
    return median(run["images"] / run["seconds"] for run in runs) if "images" in runs[0] else None
