"""Spark's event log in a report: kept when Spark has ended, and what is made of it."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fruits import eventlog, folders
from fruits.errors import FruitsError, describe_exception
from fruits.tables import FORMATS

# Spark gives the log its last name when its JVM ends, after the last cell; to S3 the whole log is sent then.
_PATIENCE = 25.0


def collect_log(folder: Path, told: dict[str, Any], *, say: Callable[[str], None]) -> dict[str, Any]:
    """Complete `spark/` in the draft of a report, and return `spark` for its manifest; say it if there is no log.

    `told` is what the notebook leaves there: the application's id and the place of its log.
    """
    try:
        return {"spark": _keep(told, folder)}
    except Exception as error:  # a computation of hours does not fail because of its log
        shutil.rmtree(folder, ignore_errors=True)
        said = str(error) if isinstance(error, FruitsError) else describe_exception(error)
        say(f"the report has no event log of Spark: {said}")
        return {}


def _keep(told: dict[str, Any], folder: Path) -> dict[str, Any]:
    source = _wait_for_log(told["application"], _find_place(told["event_log_dir"]))
    kept = eventlog.keep_log(source, folder, application=told["application"])
    for other in folder.iterdir():
        if other != kept:
            other.unlink()
    run = eventlog.read_event_log(kept)
    form = FORMATS["international"]
    form.write_table(folder / eventlog.STAGES, run.stages)
    form.write_table(folder / eventlog.EXECUTORS, run.executors)
    _draw(run, folder / eventlog.PICTURE)
    return run.summarise()


def _find_place(address: str | None) -> Path:
    """Return the folder of `spark.eventLog.dir`."""
    if address is None:
        raise FruitsError("this session kept none.")
    scheme, _, path = address.partition(":")
    if scheme == "file":
        return Path(unquote(path.removeprefix("//")))
    return folders.resolve(address, base=None)


def _wait_for_log(application: str, place: Path) -> Path:
    end = time.monotonic() + _PATIENCE
    while True:
        log = eventlog.find_log(place, application)
        over = time.monotonic() > end  # the JVM was killed, or still writes
        if log and (over or not log.name.endswith(eventlog.UNFINISHED)):
            return log
        if over:
            raise FruitsError(f"{place} holds none of {application}.")
        time.sleep(0.1 if log else 1)


def _draw(run: eventlog.SparkRun, file: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from fruits import plots

    with mpl.rc_context(plots.FIGURES):  # type: ignore[arg-type]
        figure = plots.draw_spark(run, figure=Figure(figsize=(plots.WIDTH, 6.6)))
        FigureCanvasAgg(figure).print_figure(file, dpi=150)
