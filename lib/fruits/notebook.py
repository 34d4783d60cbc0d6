"""The notebook: its parameters, its texts, and the parts of its report."""

import ast
import base64
import io
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fruits import eventlog, folders, results
from fruits.errors import UsageError
from fruits.local import LocalFolder
from fruits.manifest import show_test
from fruits.ownership import BY_HAND
from fruits.params import (
    DRAFT_VARIABLE,
    KEYS,
    RunParams,
    build_params,
    describe_unknown,
    find_repository,
    list_modes,
    name_missing,
)
from fruits.redaction import redact_secrets

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyspark.sql import SparkSession

# The table of error rows has the same name beside the report as among the results.
ERRORS = results.ERRORS.name
# What the command makes atlas.html of.
POINTS = "points.parquet"
# By whether the images are the sample and whether the weights are untrained.
WARNINGS = {
    (True, True): "Sample images, untrained weights: this report shows the pipeline and says nothing about fruit.",
    (True, False): "Sample images, drawn by a program: this report says nothing about fruit.",
    (False, True): "Untrained weights: the features of this report say nothing about fruit.",
}
_INJECTED = "# Parameters"  # the first line of the cell that papermill injects


def read_params(namespace: Mapping[str, Any]) -> RunParams:
    """Build the parameters from the `globals()` of a notebook whose `parameters` cell has run.

    IPython keeps the source of each cell in `In`: the parameters are the names that the last `parameters` cell and
    the last cell of papermill assign. Livy keeps no sources: there all variables with the name of a parameter are
    taken, and a wrong name is not noticed (papermill warns).
    """
    names = KEYS.keys() & namespace.keys()
    if "In" in namespace:
        cells = [source for source in namespace["In"] if source]
        assigned = [_assigned_names(source) for source in cells]
        injected = [number for number, source in enumerate(cells) if source.startswith(_INJECTED)]
        whole = [number for number, found in enumerate(assigned) if len(found & KEYS.keys()) > len(KEYS) // 2]
        written = [number for number in whole if number not in injected]
        if written and injected and injected[0] < written[0]:
            raise UsageError(
                "the parameters cell has lost its `parameters` tag, so the values of papermill are not used; add the "
                "tag again (Jupyter: property inspector)."
            )
        # Only the last ones: a cell that was corrected and run again is in the history twice.
        names = set().union(*(assigned[number] for number in written[-1:] + injected[-1:]))
    values = {name: namespace[name] for name in sorted(names) if name in namespace}
    problems = name_missing(KEYS, values, origin="notebook")
    if find_repository() and isinstance(mode := values.get("mode"), str) and mode not in list_modes():
        problems.append(f"notebook: {describe_unknown('mode', mode, list_modes())}")
    return build_params(values, sources=dict.fromkeys(values, "notebook"), problems=problems)


def fill_parameters(source: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of those that the text of a `parameters` cell assigns; its comments stay."""
    for name, value in values.items():
        line = f"{name} = {json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)}"
        source = re.sub(rf"^{name} = .*?(?=  #|$)", line.replace("\\", r"\\"), source, flags=re.MULTILINE)
    return source


def _assigned_names(source: str) -> set[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell that did not run
        return set()
    targets = (target for node in body if isinstance(node, ast.Assign) for target in node.targets)
    return {target.id for target in targets if isinstance(target, ast.Name)}


class Markdown:
    """A text that Jupyter shows as Markdown, and Livy, which shows only text, without the marks."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        signs = r"(`+)( ?)(.+?)\2\1(?!`)|\*\*|^> "
        return re.sub(signs, lambda found: found[3] or "", self.text, flags=re.MULTILINE)


def quote(value: object) -> str:
    """Return a name or a path as a code span of Markdown, without secrets and without effect of any sign in it."""
    text = redact_secrets(str(value))
    text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " * (text[:1] in "` " or text[-1:] in "` ")
    return f"{fence}{pad}{text}{pad}{fence}"


def describe_figures() -> None:
    """Let Jupyter keep with each figure a text that says what it shows; Livy has no place for one.

    Figures of photographs are kept as JPEG, which takes a quarter of the bytes of PNG; others as PNG of 256 colours.
    """
    from IPython import get_ipython
    from matplotlib import get_backend, pyplot
    from matplotlib.figure import Figure

    from fruits.plots import describe_figure

    if shell := get_ipython():
        pyplot.switch_backend(get_backend())  # a backend that is loaded later forgets the formatters of figures
        formatters = shell.display_formatter.formatters
        formatters["text/plain"].for_type(Figure, lambda figure, printer, _: printer.text(describe_figure(figure)))
        for kind in ("png", "jpeg"):
            formatters[f"image/{kind}"].for_type(Figure, partial(_print_figure, kind=kind))


def _print_figure(figure: "Figure", *, kind: str) -> str | None:
    """Return a figure in base64, drawn once; Jupyter draws it twice, to cut it. None if the other kind is better."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    photographs, stream = any(ax.images for ax in figure.axes), io.BytesIO()
    if not figure.axes or photographs != (kind == "jpeg"):
        return None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    plain = Image.fromarray(drawn).convert("RGB")
    if not photographs:
        # A third of the bytes. Of Pillow's methods this one keeps the colours of the lines and marks as they are.
        plain = plain.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    plain.save(stream, kind, quality=85, optimize=photographs)
    return base64.b64encode(stream.getvalue()).decode()


def banner(params: RunParams) -> str | None:
    """Return the warning at the top of a report of sample images or untrained weights."""
    return WARNINGS.get((params.target == "sample", params.weights == "random"))


def report_folder(params: RunParams) -> Path:
    """Return where the notebook writes its report: the draft of `fruits run`, else `by-hand` in the report's folder.

    So a run by hand does not change the report of a command.
    """
    return Path(draft) if (draft := os.environ.get(DRAFT_VARIABLE)) else params.report_folder / BY_HAND


def make_log_folder(params: RunParams) -> Path | None:
    """Make the folder of Spark's event log in the report; None where Spark could not write one, and on a cluster."""
    folder = report_folder(params) / eventlog.FOLDER
    if not params.spark_master or not isinstance(folders.as_folder(folder), LocalFolder):
        return None
    with suppress(OSError):  # the report needs the log least
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


def describe_log(spark: "SparkSession", params: RunParams) -> str:
    """Return a sentence that says where Spark's event log is, or why there is none."""
    if not (place := eventlog.find_place(spark)):
        return "Spark keeps no event log in this session."
    if DRAFT_VARIABLE in os.environ:
        place = str(params.report_folder / eventlog.FOLDER)
        return f"The whole event log will be in {quote(place)}; `fruits history` shows it in Spark's own pages."
    return f"The event log of {quote(spark.sparkContext.applicationId)} is in {quote(place)} when Spark has ended."


def show_summary(run: eventlog.SparkRun | None) -> pd.DataFrame:
    """Return what Spark did, as a table for readers; empty without a log that can be read."""
    told = run.summarise() if run else {}
    shown = {name: f"{value:,}" if isinstance(value, int | float) else str(value) for name, value in told.items()}
    return pd.DataFrame({"value": {name.replace("_", " "): value for name, value in shown.items()}})


def show_accuracies(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `Quality.accuracies` for readers: a row for each k, a column for each test, in percent."""
    from fruits.plots.quality import order_ks

    if accuracies.empty:
        return accuracies
    classifiers = accuracies["classifier"].replace({"nn1": "nearest"})
    names = accuracies["split"].map(show_test) + ", " + classifiers
    shares = (100 * accuracies["accuracy"]).map("{:.1f}".format)
    table = accuracies.assign(test=names, shown=shares).pivot(index="k", columns="test", values="shown")  # noqa: PD010
    return table.loc[order_ks(accuracies["k"]), list(dict.fromkeys(names))].rename_axis(columns=None)


def write_report_parts(
    params: RunParams, *, manifest: dict[str, object], figure: "Figure", points: pd.DataFrame | None = None
) -> None:
    """Write manifest.json, variance.png and, for `fruits run`, the points of the atlas, if there are any.

    The last cell calls it, so only a complete run has them.
    """
    folder = report_folder(params)
    if DRAFT_VARIABLE in os.environ and points is not None and len(points):
        table = io.BytesIO()
        points.to_parquet(table, index=False)
        folders.write_bytes(folder / POINTS, table.getvalue())
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    folders.write_bytes(folder / "variance.png", picture.getvalue())
    text = redact_secrets(json.dumps(manifest, indent=2) + "\n")
    folders.write_bytes(folder / "manifest.json", text.encode())
