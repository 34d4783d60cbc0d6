"""The comparison of finished runs: `compare.ipynb`, run by papermill, and its page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fruits import folders, ownership
from fruits.comparison.runs import find_manifests, read_runs
from fruits.notebook import WARNINGS
from fruits.params import RunParams, repository
from fruits_cli.execution import FAILED, execute_notebook, explain_failures
from fruits_cli.index import COMPARISON, write_index
from fruits_cli.kernel import LOG, Kernel

_FILES = ("run.html", "run.ipynb", FAILED, LOG)


def compare_runs(runs: Sequence[str], *, params: RunParams, kernel: Kernel, say: Callable[[str], None]) -> Path:
    """Compare runs side by side and in pairs, and return the page, `<report_dir>/compare/run.html`.

    Notebook and page replace those of an earlier comparison. `runs` are as `find_manifests` takes them; of
    `params`, which are of any mode of the target, only the folders matter.
    """
    reports = params.path("report_dir")
    manifests = find_manifests(runs, target=params.target, report_dir=reports)
    found = read_runs(manifests)
    say(f"comparing {', '.join(run.name for run in found)}")
    folder, notebook = reports / COMPARISON, repository() / "notebooks" / "compare.ipynb"
    values = {"runs": [*map(str, manifests)], "target": params.target, "report_dir": str(reports)}
    with ownership.replaced_folder(folder, names=_FILES) as draft, explain_failures(kernel.log, folder=folder):
        execute_notebook(notebook, draft / "run.ipynb", kernel=kernel, parameters=values, folder=folder, say=say)
        from fruits_cli.html import render_html

        # The warning of sample images or untrained weights, if it is true of all.
        kinds = {(run.find("target") == "sample", run.find("params", "weights") == "random") for run in found}
        banner = WARNINGS.get(kinds.pop()) if len(kinds) == 1 else None
        html = render_html(draft / "run.ipynb", title="Fruits! Runs compared", banner=banner)
        folders.write_bytes(draft / "run.html", html.encode())
    write_index(reports)
    return folder / "run.html"
