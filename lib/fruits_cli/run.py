"""Run the notebook by papermill and put its report in place, whole."""

import dataclasses
import importlib
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fruits import folders, ownership
from fruits.errors import FruitsError, describe_cell_error, describe_exception
from fruits.images import open_images
from fruits.notebook import DRAFT_VARIABLE, ERRORS, POINTS, banner
from fruits.params import KEYS, RunParams, repository
from fruits.preflight import check_run
from fruits.redaction import redact_secrets
from fruits_cli.front import describe_front
from fruits_cli.index import write_index
from fruits_cli.kernel import LOG, KernelError, KernelStartError, private_kernels, read_last_words, replace_home
from fruits_cli.streams import ProgressWriter

# The tag of cells that draw only if there is something to draw.
OPTIONAL = "optional"
# What a cell calls that ends in a figure.
_DRAWS = re.compile(r"\bplots\.(plot|draw)_")


def run_pipeline(params: RunParams, *, say: Callable[[str], None]) -> Path:
    """Execute the notebook with these parameters and render its report.

    Parameters
    ----------
    say
        Shows a sentence to whoever started the run.

    Returns
    -------
    Path
        The HTML report.

    Raises
    ------
    FruitsError
        If a check or a cell fails. A failing cell leaves `run.failed.ipynb` beside the last good report.
    """
    replace_home()
    notebook = repository() / "notebooks" / "pipeline.ipynb"
    check_notebook(notebook)
    for note in check_run(params, replaces_report=True):
        say(note)
    say("starting the notebook")
    # nbconvert takes seconds to import: meanwhile the notebook runs, in its own process.
    threading.Thread(target=_import_html, daemon=True).start()
    with folders.as_folder(params.report_folder).staged() as draft, _explain_failures(draft, params=params):
        try:
            _execute(notebook, draft / "run.ipynb", params=params, say=say)
        except KernelStartError:  # no cell has run: once more is safe
            _execute(notebook, draft / "run.ipynb", params=params, say=say)
        say("writing the report")
        _render(draft, params=params)
        _finish(draft, params=params)
    try:
        write_index(params.path("report_dir"))
    except Exception as error:
        say(f"the index of reports was not written: {describe_exception(error)}")
    return params.report_folder / "run.html"


def _import_html() -> None:
    with suppress(Exception):  # raised again where it is needed
        importlib.import_module("fruits_cli.html")


def _render(draft: Path, *, params: RunParams) -> None:
    """Write the page, and add what that took to the manifest."""
    from fruits_cli.html import render_html

    started = time.perf_counter()
    manifest = json.loads((draft / "manifest.json").read_text())
    title = f"Fruits! {params.title} ({params.target})"
    front = describe_front(manifest, links=_draw_atlas(draft, params=params, title=title))
    html = render_html(draft / "run.ipynb", title=title, banner=banner(params), front=front)
    (draft / "run.html").write_text(html, encoding="utf-8")
    seconds = manifest["seconds"]["report"] + time.perf_counter() - started
    manifest["seconds"]["report"] = round(seconds, 3)
    folders.write_bytes(draft / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def _draw_atlas(draft: Path, *, params: RunParams, title: str) -> dict[str, str]:
    """Make atlas.html of the points that the notebook wrote, if it wrote any; return the link to it."""
    import pandas as pd

    from fruits_cli.atlas import write_atlas

    if not (file := draft / POINTS).exists():
        return {}
    source = open_images(params.path("input_dir"))
    write_atlas(pd.read_parquet(file), draft / "atlas.html", title=title, read_image=source.open_picture)
    file.unlink()
    return {"atlas.html": "All images as points on a map, with search and selection"}


def _finish(draft: Path, *, params: RunParams) -> None:
    """Say whose the report is, and bring along what outlives the one that it replaces."""
    manifest = json.loads((draft / "manifest.json").read_text())
    owner = ownership.describe_owner(params, model_id=manifest["model"]["model_id"])
    ownership.write_marker(draft, owner=owner, kind=ownership.REPORT)
    ownership.keep_folders(params.report_folder, draft, ownership.REPORT)
    ownership.check_again(params.report_folder, ownership.REPORT, owner=owner, replace=params.replace)


def check_notebook(notebook: Path) -> None:
    """Refuse a notebook into which papermill could not inject: it would run with its own values, green.

    Raises
    ------
    FruitsError
        If not exactly one code cell bears the tag `parameters`, the cell names other keys than a run has, or the
        file is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise FruitsError(f"{notebook}: not a notebook: {error}. Restore it by `git checkout`.") from error
    if len(tagged) != 1:
        raise FruitsError(
            f"{notebook}: {len(tagged)} cells bear the tag `parameters`; exactly one must, "
            "or the values of the mode would be ignored. Tag the cell (Jupyter: property inspector)."
        )
    lines = "".join(tagged[0]["source"]).splitlines()
    names = {line.split("=")[0].strip() for line in lines if "=" in line.split("#")[0]}
    if names != set(KEYS):
        raise FruitsError(f"{notebook}: the parameters cell and params/ differ in {sorted(names ^ set(KEYS))}.")


def check_figures(notebook: Path) -> None:
    """Refuse an executed notebook in which a cell that draws shows no picture: its page would lack a figure.

    Raises
    ------
    FruitsError
        With the numbers of the cells.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    bare = [
        str(cell["execution_count"])
        for cell in cells
        if cell["cell_type"] == "code"
        and OPTIONAL not in cell["metadata"].get("tags", [])
        and _DRAWS.search("".join(cell["source"]))
        and not any(kind.startswith("image/") for output in cell["outputs"] for kind in output.get("data", {}))
    ]
    if bare:
        raise FruitsError(
            f"the figures of cells {', '.join(bare)} are missing, so no report was made. Something chose another "
            "backend of Matplotlib than the notebook's: look for matplotlib.use in a sitecustomize.py on PYTHONPATH."
        )


def _execute(notebook: Path, output: Path, *, params: RunParams, say: Callable[[str], None]) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    os.environ[DRAFT_VARIABLE] = str(output.parent)
    log = output.with_name(LOG)
    try:
        with private_kernels(log) as manager:
            papermill.execute_notebook(
                # Papermill fills in `{name}` in paths.
                *(str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, output)),
                parameters=json.loads(json.dumps(dataclasses.asdict(params))),
                kernel_name="python3",
                language="python",
                kernel_manager_class=manager,
                stdout_file=ProgressWriter(sys.stdout),
                progress_bar=False,
                on_cell_start=lambda cell, **_: _announce(cell, say=say),
            )
    except papermill.PapermillExecutionError as error:
        what = describe_cell_error(error.ename, error.evalue)
        failed = _keep_failed(output, params=params)
        raise FruitsError(f"cell {error.exec_count} failed: {what}\nSee {failed}") from error
    except DeadKernelError as error:
        raise KernelError(
            "the notebook's kernel died (killed, or out of memory?). Stored features are kept: run again to continue.\n"
            f"Its last words: {read_last_words(log)}\nSee {_keep_failed(output, params=params)}"
        ) from error
    except (KeyboardInterrupt, SystemExit):
        # The cell that was interrupted ends in an error that nobody awaits any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    finally:
        del os.environ[DRAFT_VARIABLE]
    log.unlink()
    try:
        check_figures(output)
    except FruitsError as error:
        raise FruitsError(f"{error}\nSee {_keep_failed(output, params=params)}") from error
    folders.write_bytes(output, redact_secrets(output.read_text(encoding="utf-8")).encode())


def _announce(cell: Mapping[str, Any], *, say: Callable[[str], None]) -> None:
    """Show the heading of a section as it begins."""
    heading, _, _ = cell["source"].partition("\n")
    if cell["cell_type"] == "markdown" and heading.startswith("## "):
        say(heading.removeprefix("## "))


@contextmanager
def _explain_failures(draft: Path, *, params: RunParams) -> Iterator[None]:
    """Turn what papermill, Jupyter, nbconvert and the system raise in the block into a sentence, and keep the trace."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FruitsError) and not isinstance(error, KernelError):
            raise  # the sentence and the notebook that failed say all
        said = str(error) if isinstance(error, KernelError) else describe_exception(error)
        log, kernel = params.report_folder / LOG, draft / LOG
        told = kernel.read_text(errors="replace") if kernel.exists() else ""
        with suppress(OSError):  # the disk may be full
            folders.write_bytes(log, redact_secrets(f"{told}\n{traceback.format_exc()}").encode())
            said = f"{said}\nTrace: {log}"
        raise FruitsError(said) from error


def _keep_failed(output: Path, *, params: RunParams) -> Path:
    """Put what was executed, and the error rows that may have failed it, beside the last good report."""
    failed = params.report_folder / "run.failed.ipynb"
    folders.write_bytes(failed, redact_secrets(output.read_text(encoding="utf-8")).encode())
    kept = ownership.lists_file(params.report_folder, ERRORS)  # it tells of the last good run
    rows = params.report_folder / ("errors.failed.csv" if kept else ERRORS)
    for stale in (rows, params.report_folder / LOG):
        stale.unlink(missing_ok=True)
    if (errors := output.with_name(ERRORS)).exists():
        folders.write_bytes(rows, errors.read_bytes())
    return failed
