"""What finished runs say of themselves, side by side."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from fruits.comparison.runs import Run
from fruits.manifest import STAGES, find_value, list_rates, show_test
from fruits.pca import format_share, format_target
from fruits.quality.trial import ALL, SHOWN

UNKNOWN = "–"


def tabulate_runs(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the main facts of runs as texts: a row for each fact, a column for each run."""
    k = choose_k(list_accuracies(runs))
    return pd.DataFrame({run.name: _list_facts(run, k) for run in runs}).fillna(UNKNOWN)


def _list_facts(run: Run, k: str | None) -> dict[str, str]:
    needed, target = (run.find("pca", key) for key in ("components_for_target", "variance_target"))
    facts = {
        "mode, target": f"{run.find('mode')}, {run.find('target')}",
        "started": str(run.find("started") or UNKNOWN)[:16].replace("T", " "),
        "commit": str(run.find("git_commit") or UNKNOWN)[:7] + " (edited since)" * bool(run.find("git_dirty")),
        "network": str(run.find("model", "backbone") or UNKNOWN),
        "engine": str(run.find("model", "engine") or UNKNOWN),
        "input, pixels": str(run.find("model", "input_size") or UNKNOWN),
        "images": f"{run.find('counts', 'features'):,}",
        "computed in this run": _write(run.find("counts", "computed"), "{:,}".format),
        "images/s": _write(run.find("images_per_second"), "{:,.0f}".format),
        "seconds, all stages": _write(sum((run.find("seconds") or {}).values()) or None, "{:,.0f}".format),
        "components kept (k)": f"{run.find('pca', 'kept'):,}",
        "variance kept": _write(run.find("pca", "cumulative"), format_share),
        f"components for {format_target(target) if target else 'the target'}": f"{needed:,}"
        if needed
        else f"more than {run.find('pca', 'kept'):,}",
        "components enough, by group": _write(
            run.find("quality", "components_within_one_point", "by_group"), "{:,}".format
        ),
    }
    for row in list_accuracies([run]).itertuples():
        if row.k == k:
            facts[f"accuracy, {show_test(row.test)}, k = {k}"] = f"{100 * row.accuracy:.1f}%"
    return facts | {"cost": _describe_cost(run)}


def _describe_cost(run: Run) -> str:
    cost = run.cluster.get("cost")
    told = _write(find_value(cost, "amount"), "{:.2f}".format)
    return str(run.find("cost") or UNKNOWN) if told == UNKNOWN else f"{told} {find_value(cost, 'currency')}"


def _write(value: Any, write: Callable[[Any], str]) -> str:
    return write(value) if isinstance(value, int | float) else UNKNOWN


def list_seconds(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the seconds of each stage: a row for each run, a column for each stage that any of them has."""
    table = pd.DataFrame({run.name: run.find("seconds") or {} for run in runs}).reindex(STAGES).T
    return table.fillna(0.0).loc[:, lambda found: found.any()]


def list_accuracies(runs: Sequence[Run]) -> pd.DataFrame:
    """Return run, test, k (str), accuracy, low, high (0 to 1) and tested (images) of the nearest neighbour.

    The intervals of 95 % are those of `quality.csv`; they are NaN where a manifest has none.
    """
    rows = []
    for run in runs:
        for test, rates in list_rates(run.manifest).items():
            keys = ("official",) if test == "official" else ("by_group", test)
            tested = run.find("quality", *keys, "test")
            for k, rate in rates.items():
                interval = run.find("quality", *keys, "interval", k, "nn1") or (math.nan, math.nan)
                rows.append((run.name, test, k, rate, *interval, tested))
    return pd.DataFrame(rows, columns=["run", "test", "k", "accuracy", "low", "high", "tested"])


def choose_k(accuracies: pd.DataFrame) -> str | None:
    """Return the number of components at which accuracies are compared: the largest up to 50 that all tests tried."""
    tried = [set(part["k"]) - {ALL} for _, part in accuracies.groupby(["run", "test"])]
    shared = [int(k) for k in set.intersection(*tried) if int(k) <= SHOWN] if tried else []
    return str(max(shared)) if shared else None
