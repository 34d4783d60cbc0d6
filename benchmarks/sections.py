"""Where the seconds of `fruits run` go: the times that papermill left in the executed notebook."""

from datetime import datetime
from pathlib import Path

import nbformat

BEFORE, AFTER = "command, papermill, kernel start", "HTML (nbconvert)"


def read_sections(notebook: Path, *, started: float, ended: float) -> dict[str, float]:
    """Return the seconds of each section of an executed notebook, and of what lies before and behind it.

    Parameters
    ----------
    started, ended
        When the command was called and when it returned, seconds since 1970.
    """
    sections: dict[str, float] = {}
    title, first, last = "", ended, started
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            title = cell.source.splitlines()[0].removeprefix("## ")
        times = cell.metadata.get("papermill", {})
        if cell.cell_type == "code" and times.get("end_time"):
            begun, done = (datetime.fromisoformat(times[key]).timestamp() for key in ("start_time", "end_time"))
            sections[title] = sections.get(title, 0.0) + done - begun
            first, last = min(first, begun), max(last, done)
    return {BEFORE: first - started, **sections, AFTER: ended - last}
