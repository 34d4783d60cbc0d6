"""Which parameters a run takes: those of a mode, or what suits a folder of images."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fruits import folders
from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.rows import ALL
from fruits.ownership import check_whole
from fruits.params import KEYS, RunParams, build_params, load_params, name_missing

# Of this mode, with every class and every image, a folder takes what it does not say itself. Among a few photographs
# two that cannot be read are a large share, and are named at the end.
_MODE = "FULL"
_EVERYTHING = {"classes": '["*"]', "max_images": "0", "split": ALL, "max_error_share": "1"}


def choose_params(
    mode: str | None, target: str | None, *, images: str | None, name: str | None, settings: Mapping[str, str]
) -> tuple[RunParams, list[str]]:
    """Return the parameters of a run, and sentences that say what was chosen for the user.

    Without a mode every image of the folder is taken; the results are called as the folder is. The target is
    `local` for a folder, else `sample`. `settings`, as `--set` takes them, win over all others.
    """
    chosen = {} if name is None else {"name": name}
    if images is None:
        return load_params(mode or "", target or "sample", {**chosen, **settings}), []
    if target == "sample":
        raise UsageError("--images with --target sample: it renders its own images; allowed: local, emr.")
    folder = folders.resolve(images, base=Path.cwd())
    chosen = {"input_dir": str(folder), "name": folder.name, **chosen, **({} if mode else _EVERYTHING), **settings}
    if not (chosen["name"] and KEYS["name"].metadata["check"](chosen["name"])):
        allowed = KEYS["name"].metadata["allowed"]
        raise UsageError(f"the results cannot be called {chosen['name']!r}; name them by --name: {allowed}.")
    params = load_params(mode or _MODE, target or "local", chosen)
    return _find_split(params) if mode and "split" not in settings else (params, [])


def _find_split(params: RunParams) -> tuple[RunParams, list[str]]:
    """Take every image of a folder that lacks the split of the mode."""
    folder = params.path("input_dir")
    there = map(folders.compose, open_images(folder).list_splits())
    if folders.compose(params.split) in there:
        return params, []
    said = f"{folder} has no {params.split} with classes: every image below it is taken (split = {ALL})"
    return dataclasses.replace(params, split=ALL), [said]


def read_stored_params(name: str, *, target: str, against: str, settings: Mapping[str, str]) -> RunParams:
    """Return the parameters of a finished run, of a mode or a name, set to evaluate it.

    `against` is the split to test on; empty keeps that of the run. `settings` win, as `--set` takes them.
    """
    base = load_params(_MODE, target, settings)
    file = base.path("report_dir") / target / name / "manifest.json"
    told = read_manifest(file.parent)["params"]
    known = {key: value for key, value in told.items() if key in KEYS} | {key: getattr(base, key) for key in settings}
    values = known | {"evaluate": True, "fresh": False, "replace": False}
    values |= {"against": against} if against else {}
    problems = name_missing(KEYS, values, origin=str(file))
    params = build_params(values, sources=dict.fromkeys(values, str(file)), problems=problems)
    check_whole(params.results_dir)
    return params


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a report, whose folder is `<target>/<name>`; UsageError if there is no finished run."""
    target, name = folder.parent.name, folder.name
    try:
        manifest = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        return manifest | {"params": dict(manifest["params"])}
    except (OSError, ValueError, LookupError, TypeError) as error:
        command = f"scripts/aws_setup.sh run {name}" if target == "emr" else f"fruits run {name} --target {target}"
        raise UsageError(f"there is no report of a finished run in {folder}; run it first: {command}.") from error
