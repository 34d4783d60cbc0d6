"""Run the notebook by papermill and put its report in place, whole."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd

from fruits import eventlog, folders, ownership
from fruits.errors import describe_exception
from fruits.features.model import load_model
from fruits.images import open_images
from fruits.notebook import POINTS, banner
from fruits.params import RunParams, find_repository, repository
from fruits.preflight import check_run
from fruits_cli.event_log import collect_log
from fruits_cli.execution import execute_notebook, explain_failures
from fruits_cli.front import describe_front
from fruits_cli.index import write_index
from fruits_cli.kernel import Kernel


def run_pipeline(params: RunParams, *, kernel: Kernel, say: Callable[[str], None]) -> Path:
    """Execute the notebook with these parameters, and return the page of its report.

    A failing cell leaves `run.failed.ipynb` beside the last good report.
    """
    for note in check_run(params, replaces_report=True):
        say(note)
    notebook, folder = repository() / "notebooks" / "pipeline.ipynb", params.report_folder
    conversion = threading.Thread(target=_convert_weights, args=(params,))
    conversion.start()

    def wait_for_model(source: str) -> None:
        if "load_model(" in source:
            conversion.join()

    with folders.as_folder(folder).staged() as draft, explain_failures(kernel.log, folder=folder):
        execute_notebook(
            notebook,
            draft / "run.ipynb",
            kernel=kernel,
            parameters=dataclasses.asdict(params),
            folder=folder,
            say=say,
            before_cell=wait_for_model,
        )
        say("writing the report")
        _complete_report(draft, params=params, say=say)
    try:
        write_index(params.path("report_dir"))
    except Exception as error:
        say(f"the index of reports was not written: {describe_exception(error)}")
    return params.report_folder / "run.html"


def _convert_weights(params: RunParams) -> None:
    """Convert the weights while the notebook starts; what fails here fails again in the notebook, which says why.

    A command that fails meanwhile waits for the end, so that no draft of the model and no process stays behind.
    """
    models = params.path("output_dir") / "models"
    with suppress(Exception):
        load_model(params.weights, **params.model_settings, folder=models, base=find_repository())


def _complete_report(draft: Path, *, params: RunParams, say: Callable[[str], None]) -> None:
    """Add log, page, manifest and marker to the notebook, and bring along what outlives the report that is replaced."""
    from fruits_cli.html import render_html

    manifest = json.loads((draft / "manifest.json").read_text())
    manifest |= collect_log(draft / eventlog.FOLDER, manifest.pop("spark"), say=say)
    started, title = time.perf_counter(), f"Fruits! {params.title} ({params.target})"
    picture = f"{eventlog.FOLDER}/{eventlog.PICTURE}"
    seen = {picture: "When Spark's stages and tasks ran"} if (draft / picture).exists() else {}
    front = describe_front(manifest, links=_draw_atlas(draft, params=params, title=title) | seen)
    html = render_html(draft / "run.ipynb", title=title, banner=banner(params), front=front)
    (draft / "run.html").write_text(html, encoding="utf-8")
    seconds = manifest["seconds"]["report"] + time.perf_counter() - started
    manifest["seconds"]["report"] = round(seconds, 3)
    folders.write_bytes(draft / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    owner = ownership.describe_owner(params, model_id=manifest["model"]["model_id"])
    ownership.write_marker(draft, owner=owner, kind=ownership.REPORT)
    ownership.keep_folders(params.report_folder, draft, ownership.REPORT)
    ownership.check_again(params.report_folder, ownership.REPORT, owner=owner, replace=params.replace)


def _draw_atlas(draft: Path, *, params: RunParams, title: str) -> dict[str, str]:
    """Make atlas.html of the points that the notebook wrote, if it wrote any; return the link to it."""
    from fruits_cli.atlas import THUMBNAIL, write_atlas

    if not (file := draft / POINTS).exists():
        return {}
    source = open_images(params.path("input_dir"))
    read_image = partial(source.open_picture, size=THUMBNAIL)
    write_atlas(pd.read_parquet(file), draft / "atlas.html", title=title, read_image=read_image)
    file.unlink()
    return {"atlas.html": "All images as points on a map, with search and selection"}
