"""Run the notebook by papermill and put its report in place, whole."""

import dataclasses
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fruits import storage
from fruits.errors import FruitsError
from fruits.params import KEYS, RunParams, repository
from fruits.preflight import check_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where `fruits run` gathers a report before it replaces the old one. Unset when the notebook is run by hand.
DRAFT_VARIABLE = "FRUITS_REPORT_DRAFT"
SAMPLE_BANNER = "Sample images, untrained weights: this report shows the pipeline and says nothing about fruit."


def run_pipeline(params: RunParams) -> Path:
    """Execute the notebook with these parameters and render its report.

    Returns
    -------
    Path
        The HTML report.

    Raises
    ------
    FruitsError
        If a check or a cell fails. A failing cell leaves `run.failed.ipynb` beside the last good report.
    """
    notebook = repository() / "notebooks" / "pipeline.ipynb"
    check_notebook(notebook)
    check_run(params)
    # nbconvert takes seconds to import: meanwhile the notebook runs, in its own process.
    threading.Thread(target=importlib.import_module, args=("fruits.reporting.html",), daemon=True).start()
    with storage.replaced_folder(params.report_folder) as draft:
        _execute(notebook, draft / "run.ipynb", params=params)
        from fruits.reporting.html import render_html

        started = time.perf_counter()
        title = f"Fruits! {params.mode} ({params.target})"
        html = render_html(draft / "run.ipynb", title=title, banner=banner(params))
        (draft / "run.html").write_text(html, encoding="utf-8")
        _add_report_seconds(draft / "manifest.json", time.perf_counter() - started)
    return params.report_folder / "run.html"


def check_notebook(notebook: Path) -> None:
    """Refuse a notebook into which papermill could not inject: it would run with its own values, green.

    Raises
    ------
    FruitsError
        If not exactly one code cell bears the tag `parameters`, or the cell names other keys than a run has.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise FruitsError(
            f"{notebook}: {len(tagged)} cells bear the tag `parameters`; exactly one must, "
            "or the values of the mode would be ignored. Tag the cell (Jupyter: property inspector)."
        )
    lines = "".join(tagged[0]["source"]).splitlines()
    names = {line.split("=")[0].strip() for line in lines if "=" in line.split("#")[0]}
    if names != set(KEYS):
        raise FruitsError(f"{notebook}: the parameters cell and params/ differ in {sorted(names ^ set(KEYS))}.")


def banner(params: RunParams) -> str | None:
    """Return the warning that a report of sample images or untrained weights wears."""
    if params.target == "sample" and params.weights == "random":
        return SAMPLE_BANNER
    if params.target == "sample":
        return "Sample images, drawn by a program: this report says nothing about fruit."
    if params.weights == "random":
        return "Untrained weights: the features of this report say nothing about fruit."
    return None


def write_report_parts(params: RunParams, *, manifest: dict[str, object], figure: "Figure") -> None:
    """Write manifest.json and variance.png: the notebook's last act, so that only a whole run leaves them."""
    folder = Path(os.environ.get(DRAFT_VARIABLE) or params.report_folder)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "variance.png", dpi=150)
    storage.write_bytes(folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def _execute(notebook: Path, output: Path, *, params: RunParams) -> None:
    import papermill

    os.environ[DRAFT_VARIABLE] = str(output.parent)
    try:
        papermill.execute_notebook(
            notebook,
            output,
            parameters=json.loads(json.dumps(dataclasses.asdict(params))),
            kernel_name="python3",
            stdout_file=sys.stdout,
            cwd=notebook.parent,
        )
    except papermill.PapermillExecutionError as error:
        failed = params.report_folder / "run.failed.ipynb"
        storage.write_bytes(failed, output.read_bytes())
        raise FruitsError(f"cell {error.exec_count} failed: {error.ename}: {error.evalue}\nSee {failed}") from error
    finally:
        del os.environ[DRAFT_VARIABLE]


def _add_report_seconds(file: Path, seconds: float) -> None:
    manifest = json.loads(file.read_text())
    manifest["seconds"]["report"] = round(manifest["seconds"]["report"] + seconds, 3)
    storage.write_bytes(file, (json.dumps(manifest, indent=2) + "\n").encode())
