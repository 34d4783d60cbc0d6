"""Sub-commands that write or serve pages of runs that have ended."""

import signal
from collections.abc import Sequence
from pathlib import Path

import click

from fruits_cli.completion import Run
from fruits_cli.options import SET, command, load_target, target_option
from fruits_cli.process import tell


@command("fruits report OUT.ipynb", "fruits report OUT.ipynb --output page.html")
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The page. [default: NOTEBOOK with the suffix .html]")
def report(notebook: Path, output: Path | None) -> None:
    """Render an executed notebook as an HTML page.

    NOTEBOOK was executed by papermill or by hand.
    """
    from fruits_cli.html import write_page

    page = (output or notebook.with_suffix(".html")).absolute()
    write_page(notebook.absolute(), page)
    tell(f"the page is {page}")


@command("fruits reports", "fruits reports --target local --set report_dir=/my/reports")
@target_option(default="sample")
@SET
def reports(target: str, settings: Sequence[str]) -> None:
    """Write the page that lists all reports.

    It is index.html in the report_dir of the target, and lists the reports of every target there.
    """
    from fruits_cli.index import write_index

    tell(f"the page is {write_index(load_target(target, settings).path('report_dir'))}")


@command("fruits compare --target local", "fruits compare MINI APPLES --target local")
@click.argument("runs", nargs=-1, type=Run())
@target_option(default="sample")
@SET
def compare(runs: Sequence[str], target: str, settings: Sequence[str]) -> None:
    """Compare finished runs, side by side and in pairs.

    RUNS are modes, names, manifests or folders of reports; by default all modes.
    """
    params = load_target(target, settings)
    from fruits_cli.kernel import private_kernel

    with private_kernel() as kernel:
        from fruits_cli.compare import compare_runs  # it takes half a second, in which the kernel starts

        page = compare_runs(runs, params=params, kernel=kernel, say=tell)
    tell(f"the page is {page}")


@command("fruits history --target local")
@target_option(default="sample")
@SET
def history(target: str, settings: Sequence[str]) -> None:
    """Show the event logs of reports in Spark's History Server.

    It runs on this machine, with the logs that the reports of the target keep, until Ctrl-C.
    """
    from fruits_cli.history import find_logs, serve_history

    logs = find_logs(load_target(target, settings).path("report_dir") / target)
    with serve_history(logs) as address:
        tell(f"{len(logs)} run{'s' * (len(logs) != 1)}: {address} (Ctrl-C ends it)")
        signal.pause()
