"""What the notebook does for its report, and for the command that runs it."""

import io
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fruits import folders, results
from fruits.ownership import BY_HAND
from fruits.params import RunParams
from fruits.redaction import redact_secrets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where `fruits run` gathers a report before it replaces the old one. Unset when the notebook is run by hand.
DRAFT_VARIABLE = "FRUITS_REPORT_DRAFT"
# The error rows bear the same name beside the report as among the results.
ERRORS = results.ERRORS.name
SAMPLE_BANNER = "Sample images, untrained weights: this report shows the pipeline and says nothing about fruit."


class Markdown:
    """A text for readers: set as Markdown in Jupyter, plain where nothing but text arrives, as it does by Livy."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        signs = r"(`+)( ?)(.+?)\2\1(?!`)|\*\*|^> "
        return re.sub(signs, lambda found: found[3] or "", self.text, flags=re.MULTILINE)


def quote(value: object) -> str:
    """Return a name or a path, without secrets, as a code span of Markdown: nothing in it is Markdown, HTML or TeX."""
    text = redact_secrets(str(value))
    text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " * (text[:1] in "` " or text[-1:] in "` ")
    return f"{fence}{pad}{text}{pad}{fence}"


def end_with_command() -> None:
    """End this kernel, and Spark with it, when the `fruits run` that started it is killed; nothing otherwise.

    Jupyter's own watch waits for process 1 to inherit the kernel; in a desktop session or a container another may.
    """
    parent = os.getppid()
    if DRAFT_VARIABLE not in os.environ or os.environ.get("JPY_PARENT_PID") != str(parent):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def banner(params: RunParams) -> str | None:
    """Return the warning that a report of sample images or untrained weights wears."""
    if params.target == "sample" and params.weights == "random":
        return SAMPLE_BANNER
    if params.target == "sample":
        return "Sample images, drawn by a program: this report says nothing about fruit."
    if params.weights == "random":
        return "Untrained weights: the features of this report say nothing about fruit."
    return None


def report_folder(params: RunParams) -> Path:
    """Return where the notebook puts the parts of its report: a draft if a command runs it, else a folder of its own.

    A command's report lies beside that folder and tells of the command's run: a run by hand leaves it alone.
    """
    return Path(draft) if (draft := os.environ.get(DRAFT_VARIABLE)) else params.report_folder / BY_HAND


def write_report_parts(params: RunParams, *, manifest: dict[str, object], figure: "Figure") -> None:
    """Write manifest.json and variance.png: the notebook's last act, so that only a whole run leaves them."""
    folder = report_folder(params)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    folders.write_bytes(folder / "variance.png", picture.getvalue())
    text = redact_secrets(json.dumps(manifest, indent=2) + "\n")
    folders.write_bytes(folder / "manifest.json", text.encode())
