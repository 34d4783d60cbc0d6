"""A notebook, run by papermill in a kernel of its own; what is kept when it fails."""

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fruits import folders, ownership
from fruits.errors import FruitsError, describe_cell_error, describe_exception
from fruits.notebook import ERRORS
from fruits.redaction import redact_secrets
from fruits_cli.kernel import LOG, Kernel, KernelError, read_last_words
from fruits_cli.streams import ProgressWriter

# The tag of cells that draw only if there is something to draw.
OPTIONAL = "optional"
FAILED = "run.failed.ipynb"
# What a cell calls that ends in a figure.
_DRAWS = re.compile(r"\bplots\.(plot|draw)_")


def check_notebook(notebook: Path, *, names: Collection[str]) -> None:
    """Refuse a notebook into which papermill could not inject: it would run with its own values, green."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise FruitsError(f"{notebook}: not a notebook: {error}. Restore it by `git checkout`.") from error
    if len(tagged) != 1:
        raise FruitsError(
            f"{notebook}: {len(tagged)} cells have the tag `parameters`; exactly one must, "
            "or the values of papermill would be ignored. Tag the cell (Jupyter: property inspector)."
        )
    lines = "".join(tagged[0]["source"]).splitlines()
    assigned = {line.split("=")[0].strip() for line in lines if "=" in line.split("#")[0]}
    if differ := sorted(assigned ^ set(names)):
        raise FruitsError(f"{notebook}: the parameters cell and the parameters of the command differ in {differ}.")


def check_figures(notebook: Path) -> None:
    """Refuse an executed notebook in which a cell that draws shows no picture: its page would lack a figure."""
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


def execute_notebook(
    notebook: Path,
    output: Path,
    *,
    kernel: Kernel,
    parameters: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None],
    before_cell: Callable[[str], None] | None = None,
) -> None:
    """Execute a notebook with these parameters; `run.failed.ipynb` is left in `folder` if a cell fails.

    `output` is the executed notebook, in a draft of `folder`. `before_cell` is called with the source of each cell.
    When this returns, the kernel may still be ending.
    """
    check_notebook(notebook, names=parameters)
    say("starting the notebook")
    # nbconvert and Matplotlib take seconds to import: meanwhile the notebook runs, in its own process.
    threading.Thread(target=_prepare_report, daemon=True).start()

    def start_cell(cell: Mapping[str, Any], **_: object) -> None:
        _announce(cell, say=say)
        if before_cell:
            before_cell(cell["source"])

    kernel.draft.symlink_to(output.parent.absolute())
    _execute(notebook, output, kernel=kernel, parameters=parameters, folder=folder, start_cell=start_cell)
    kernel.begin_to_end()
    try:
        check_figures(output)
    except FruitsError as error:
        raise FruitsError(f"{error}\nSee {_keep_failed(output, folder=folder)}") from error
    folders.write_bytes(output, redact_secrets(output.read_text(encoding="utf-8")).encode())


def _prepare_report() -> None:
    with suppress(Exception):  # raised again where it is needed
        from nbformat.v4 import new_markdown_cell, new_notebook

        import fruits.plots  # noqa: F401
        from fruits_cli.html import render_html

        # The first page takes 0.3 s more: templates, selectors and schemas are compiled.
        render_html(new_notebook(cells=[new_markdown_cell("# Title")]), title="")


def _execute(
    notebook: Path,
    output: Path,
    *,
    kernel: Kernel,
    parameters: Mapping[str, Any],
    folder: Path,
    start_cell: Callable[..., None],
) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    kernel.wait_until_ready()
    try:
        papermill.execute_notebook(
            # Papermill fills in `{name}` in paths.
            *(str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, output)),
            parameters=json.loads(json.dumps(parameters)),
            kernel_name="python3",
            language="python",
            km=kernel.manager,
            stdout_file=ProgressWriter(sys.stdout),
            progress_bar=False,
            on_cell_start=start_cell,
        )
    except papermill.PapermillExecutionError as error:
        what = describe_cell_error(error.ename, error.evalue)
        failed = _keep_failed(output, folder=folder)
        raise FruitsError(f"cell {error.exec_count} failed: {what}\nSee {failed}") from error
    except DeadKernelError as error:
        raise KernelError(
            "the notebook's kernel died (killed, or out of memory?). Stored features are kept: run again to continue.\n"
            f"Its last words: {read_last_words(kernel.log)}\nSee {_keep_failed(output, folder=folder)}"
        ) from error
    except (KeyboardInterrupt, SystemExit):
        # The cell that was interrupted ends in an error that nobody awaits any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise


def _announce(cell: Mapping[str, Any], *, say: Callable[[str], None]) -> None:
    heading, _, _ = cell["source"].partition("\n")
    if cell["cell_type"] == "markdown" and heading.startswith("## "):
        say(heading.removeprefix("## "))


@contextmanager
def explain_failures(log: Path, *, folder: Path) -> Iterator[None]:
    """Turn what papermill, Jupyter, nbconvert and the system raise in the block into a sentence; keep the trace.

    It is kept in `folder`, after the kernel's `log`.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FruitsError) and not isinstance(error, KernelError):
            raise  # the sentence and the notebook that failed say all
        said = str(error) if isinstance(error, KernelError) else describe_exception(error)
        kept, told = folder / LOG, log.read_text(errors="replace") if log.exists() else ""
        with suppress(OSError):  # the disk may be full
            folders.write_bytes(kept, redact_secrets(f"{told}\n{traceback.format_exc()}").encode())
            said = f"{said}\nTrace: {kept}"
        raise FruitsError(said) from error


def _keep_failed(output: Path, *, folder: Path) -> Path:
    """Put what was executed, and the error rows that may have failed it, beside the last good report."""
    failed = folder / FAILED
    folders.write_bytes(failed, redact_secrets(output.read_text(encoding="utf-8")).encode())
    kept = ownership.lists_file(folder, ERRORS)  # it tells of the last good run
    rows = folder / ("errors.failed.csv" if kept else ERRORS)
    for stale in (rows, folder / LOG):
        stale.unlink(missing_ok=True)
    if (errors := output.with_name(ERRORS)).exists():
        folders.write_bytes(rows, errors.read_bytes())
    return failed
