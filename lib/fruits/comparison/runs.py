"""Finished runs, found by their names and read from their manifests and results."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fruits import folders, ownership
from fruits.errors import FruitsError, UsageError
from fruits.manifest import find_value
from fruits.moments import Matrix
from fruits.params import find_repository, list_modes
from fruits.results import VARIANCE
from fruits.tables import FORMATS

MANIFEST = "manifest.json"
# Where results of AWS lie once they are downloaded, below the repository.
_DOWNLOADED = Path("data") / "emr_output"
# A text that was written and read again may be off by the last digit.
_EQUAL = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A finished run, by a name that no other has of those read together, and the folder of its report.

    `results` is the folder of the tables and `variance` the share of each component, if that folder still holds
    those of this run; else `note` says why not. `cluster` is what `cluster.json` says; empty for a run on one
    machine.
    """

    name: str
    folder: Path
    manifest: dict[str, Any]
    results: Path | None
    variance: Matrix | None
    cluster: dict[str, Any]
    note: str = ""

    def find(self, *keys: str) -> Any:
        """Return what the manifest holds under nested keys; None if it does not."""
        return find_value(self.manifest, *keys)


def find_manifests(runs: Sequence[str], *, target: str, report_dir: Path) -> list[Path]:
    """Find the manifests of runs: modes or names of the target, folders of reports, or manifests.

    Without any, those of all modes that have a report. A UsageError lists what is there.
    """
    reports = report_dir / target
    names = [name for name in folders.as_folder(reports).list_folders() if (reports / name / MANIFEST).is_file()]
    there = f"in {reports} there are reports of {', '.join(names) or 'no run'}"
    if not runs and not (runs := [name for name in names if name in list_modes()]):
        raise UsageError(f"no mode has a report to compare; {there}. Name some of them, or first run: fruits run.")
    return [_find_manifest(run, reports, names=names, there=there) for run in runs]


def _find_manifest(run: str, reports: Path, *, names: Sequence[str], there: str) -> Path:
    # Accents may be written in another form.
    for name in names:
        if folders.compose(name) == folders.compose(run):
            return reports / name / MANIFEST
    place = folders.resolve(run, base=Path.cwd())
    for file in (place, place / MANIFEST):
        if file.is_file():
            return file
    raise UsageError(
        f"{run} is no run of this target, no report and no manifest; {there}. Name one, or its {MANIFEST}."
    )


def read_runs(manifests: Iterable[Path]) -> list[Run]:
    """Read runs from their manifests and, where they are, their results."""
    found = []
    for file in manifests:
        try:
            manifest = json.loads(file.read_bytes())
            titles = [str(manifest["params"]["name"] or manifest["mode"]), str(manifest["target"])]
            _ = manifest["counts"]["features"], manifest["pca"]["kept"], manifest["model"]["model_id"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise UsageError(f"{file} is no manifest of a finished run ({said}); name a {MANIFEST}.") from error
        found.append((titles, file.parent, manifest))
    return [
        Run(name=name, folder=folder, manifest=manifest, cluster=read_cluster(folder), **_read_results(manifest))
        for name, (_, folder, manifest) in zip(_name_apart([titles for titles, *_ in found]), found, strict=True)
    ]


def _name_apart(titles: Sequence[list[str]]) -> list[str]:
    """Name runs by their titles; where these are the same also by target, and where that is the same by numbers."""
    counts = Counter(title for title, _ in titles)
    names = [title if counts[title] == 1 else f"{title} ({target})" for title, target in titles]
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def read_cluster(folder: Path) -> dict[str, Any]:
    """Return what `cluster.json` of a report says; empty if there is none."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / ownership.CLUSTER).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _read_results(manifest: dict[str, Any]) -> dict[str, Any]:
    params = manifest["params"]
    title, home = params.get("name") or manifest["mode"], find_repository()
    places = [home / _DOWNLOADED / title] if home and manifest["target"] == "emr" else []
    output = folders.resolve(str(params.get("output_dir", "data")), base=home or Path.cwd())
    if folders.as_folder(output).atomic:  # on this machine: nothing is fetched from S3
        places.append(output / title)
    for place in places:
        if ownership.read_marker(place, ownership.RESULTS):
            variance, note = _read_variance(place, manifest)
            return {"results": None if note else place, "variance": variance, "note": note}
    hint = "" if folders.as_folder(output).atomic else "; download them: scripts/aws_setup.sh download-results"
    return {"results": None, "variance": None, "note": f"its results are not in {(places or [output])[-1]}{hint}"}


def matches_manifest(variance: pd.DataFrame, manifest: dict[str, Any]) -> bool:
    """Tell whether the variance among some results is the one that a manifest tells of."""
    told = manifest["pca"].get("cumulative", math.nan)
    return not variance.empty and math.isclose(variance["cumulative"].iloc[-1], told, abs_tol=_EQUAL)


def _read_variance(results: Path, manifest: dict[str, Any]) -> tuple[Matrix | None, str]:
    """Return the shares of the components, or why the results are not those of a manifest."""
    try:
        ownership.check_whole(results)
        table = FORMATS[manifest["params"].get("csv", "international")].read_table(results / VARIANCE)
        share = table["share"].to_numpy(np.float64)
    except FruitsError as error:
        return None, str(error).rstrip(".")
    except (OSError, ValueError, LookupError) as error:
        return None, f"{results / VARIANCE} cannot be read ({type(error).__name__})"
    model = ownership.read_marker(results, ownership.RESULTS).get("model_id")
    if matches_manifest(table, manifest) and model == manifest["model"]["model_id"]:
        return share, ""
    return None, f"{results} holds results of another run"
