"""Run the notebook by papermill and put its report in place, whole."""

import dataclasses
import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fruits import marker, storage
from fruits.errors import FruitsError
from fruits.params import KEYS, RunParams, repository
from fruits.preflight import check_run
from fruits.redaction import redact_secrets
from fruits.reporting.home import replace_home
from fruits.reporting.kernel import LOG, manage_kernel, read_last_words
from fruits.reporting.notebook import DRAFT_VARIABLE, ERRORS, banner


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
    # nbconvert takes seconds to import: meanwhile the notebook runs, in its own process.
    threading.Thread(target=importlib.import_module, args=("fruits.reporting.html",), daemon=True).start()
    with storage.staged_folder(params.report_folder) as draft:
        _execute(notebook, draft / "run.ipynb", params=params)
        from fruits.reporting.html import render_html

        started = time.perf_counter()
        title = f"Fruits! {params.mode} ({params.target})"
        html = render_html(draft / "run.ipynb", title=title, banner=banner(params))
        (draft / "run.html").write_text(html, encoding="utf-8")
        _add_report_seconds(draft / "manifest.json", time.perf_counter() - started)
        _finish(draft, params=params)
    return params.report_folder / "run.html"


def _finish(draft: Path, *, params: RunParams) -> None:
    """Say whose the report is, and bring along what outlives the one that it replaces."""
    manifest = json.loads((draft / "manifest.json").read_text())
    owner = marker.describe_owner(params, model_id=manifest["model"]["model_id"])
    marker.write_marker(draft, owner=owner, kind=marker.REPORT)
    marker.keep_folders(params.report_folder, draft, marker.REPORT)
    marker.check_again(params.report_folder, marker.REPORT, owner=owner, replace=params.replace)


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


def _execute(notebook: Path, output: Path, *, params: RunParams) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    os.environ[DRAFT_VARIABLE] = str(output.parent)
    log = output.with_name(LOG)
    try:
        papermill.execute_notebook(
            # Papermill fills in `{name}` in paths.
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, output)),
            parameters=json.loads(json.dumps(dataclasses.asdict(params))),
            kernel_name="python3",
            kernel_manager_class=manage_kernel(log),
            stdout_file=sys.stdout,
            cwd=notebook.parent,
        )
    except papermill.PapermillExecutionError as error:
        failed = _keep_failed(output, params=params)
        raise FruitsError(f"cell {error.exec_count} failed: {error.ename}: {error.evalue}\nSee {failed}") from error
    except DeadKernelError as error:
        failed = _keep_failed(output, params=params)
        raise FruitsError(
            "the notebook's kernel died (killed, or out of memory?). Stored features are kept; run again to go on.\n"
            f"Its last words: {read_last_words(log) or 'none'}\nSee {failed}"
        ) from error
    except (KeyboardInterrupt, SystemExit):
        # The cell that was interrupted ends in an error that nobody awaits any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    finally:
        del os.environ[DRAFT_VARIABLE]
    log.unlink()
    storage.write_bytes(output, redact_secrets(output.read_text(encoding="utf-8")).encode())


def _keep_failed(output: Path, *, params: RunParams) -> Path:
    """Put what was executed, and the error rows that may have failed it, beside the last good report."""
    failed = params.report_folder / "run.failed.ipynb"
    storage.write_bytes(failed, redact_secrets(output.read_text(encoding="utf-8")).encode())
    kept = marker.lists_file(params.report_folder, ERRORS)  # it tells of the last good run
    rows = params.report_folder / ("errors.failed.csv" if kept else ERRORS)
    rows.unlink(missing_ok=True)
    if (errors := output.with_name(ERRORS)).exists():
        storage.write_bytes(rows, errors.read_bytes())
    return failed


def _add_report_seconds(file: Path, seconds: float) -> None:
    manifest = json.loads(file.read_text())
    manifest["seconds"]["report"] = round(manifest["seconds"]["report"] + seconds, 3)
    storage.write_bytes(file, (json.dumps(manifest, indent=2) + "\n").encode())
