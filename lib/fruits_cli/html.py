"""The executed notebook as one HTML page for readers: no code, and nothing fetched from anywhere."""

import copy
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from bs4 import BeautifulSoup, Tag
from jupyter_core.paths import ENV_JUPYTER_PATH
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from traitlets.config import Config

from fruits.errors import UsageError
from fruits.folders import write_bytes
from fruits.notebook import WARNINGS
from fruits.redaction import redact_secrets
from fruits_cli.front import Front
from fruits_cli.page_tables import HEADINGS, read_text, set_tables

TEMPLATES = Path(__file__).with_name("templates")
HIDE_TAG, APPENDIX_TAG = "hide", "appendix"
# Readers get pictures and tables; a widget's plain text is the state it began with, so it is left out.
SHOWN_TYPES = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ACTIVE_TAGS = ["applet", "base", "embed", "frame", "iframe", "link", "meta", "object", "script"]
_ADDRESSES = {"action", "background", "data", "formaction", "href", "ping", "poster", "src", "srcset", "xlink:href"}
_FETCHING_STYLE = re.compile(r"@import|//|url\(\s*['\"]?(?!data:|#)", re.IGNORECASE)
_NO_ALT = ("", "No description has been provided for this image")
_BAR = re.compile(r"^100%\|[^|]*\| (\S+)/\S+ \[(\S+)<[^,]*, +(\S+)( \S+)/s\]$", re.MULTILINE)
_NUMBERED = re.compile(r"^(##+) \d+\. ", re.MULTILINE)


def write_page(notebook: Path, page: Path) -> None:
    """Write the page of any executed notebook, whichever program ran it; secrets are redacted."""
    if page.suffix == ".ipynb":
        raise UsageError(f"{page} would replace a notebook; name an .html file: --output FILE.")
    try:
        content: Any = nbformat.read(notebook, as_version=4)
        executed = any(cell.get("outputs") for cell in content.cells)
    except OSError as error:
        raise UsageError(f"{notebook} cannot be read ({error.strerror}); name an executed notebook.") from error
    except (ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise UsageError(f"{notebook} is not a notebook; name an executed notebook, an .ipynb file.") from error
    if not executed:
        raise UsageError(f"{notebook} has no outputs; run it first, by papermill, `jupyter execute` or Run All.")
    # The notebook shows this warning in a cell that is hidden from readers.
    shown = str([cell.get("outputs") for cell in content.cells if HIDE_TAG in cell.metadata.get("tags", [])])
    banner = next((warning for warning in WARNINGS.values() if warning in shown), None)
    write_bytes(page, redact_secrets(render_html(notebook, title=notebook.stem, banner=banner)).encode())


def render_html(
    notebook: Path | NotebookNode, *, title: str, banner: str | None = None, front: Front | None = None
) -> str:
    """Render an executed notebook as a self-contained page without code.

    Cells tagged `hide` are left out, and so is what cells that did not fail wrote to stderr. Cells tagged
    `appendix` are moved to the end. Progress bars are shown as they ended, in words. The page contains its styles
    and pictures, runs no script, and loads nothing. Pictures that its texts name by a relative path are embedded if
    it is a file.

    `title` is the first heading too, if the notebook has none of level 1; `banner` is a text for a box at the top;
    `front` is shown below the first paragraph, the question.
    """
    page = BeautifulSoup(_export(notebook, title=title, banner=banner, front=front), "html.parser")
    for main in page.find_all("main"):
        _close_off(main)
        _order_headings(main, title=title)
        _place_front(main)
        _finish_bars(main)
        _describe_pictures(main)
        set_tables(main)
    _link_headings(page)
    return str(page)


class _ReaderExporter(HTMLExporter):
    # Only this environment's templates: among the user's, others may have the same names.
    def get_prefix_root_dirs(self) -> list[str]:
        return list(ENV_JUPYTER_PATH)


def _export(notebook: Path | NotebookNode, *, title: str, banner: str | None, front: Front | None) -> str:
    folder = ""
    if isinstance(notebook, Path):
        folder = str(notebook.parent)
        notebook = nbformat.read(notebook, as_version=4)
    settings = {
        "CoalesceStreamsPreprocessor": {"enabled": True},
        "TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": {HIDE_TAG}},
        "NbConvertBase": {"display_data_priority": SHOWN_TYPES},
    }
    exporter = _ReaderExporter(  # type: ignore[no-untyped-call]
        config=Config(settings),
        template_name="reader",
        extra_template_basedirs=[str(TEMPLATES)],
        template_data_paths=[],
        embed_images=bool(folder),
        exclude_anchor_links=True,
    )
    resources = {"metadata": {"name": title, "path": folder}, "banner": banner, "front": front}
    html, _ = exporter.from_notebook_node(_select_for_readers(notebook), resources=resources)
    return str(html)


def _select_for_readers(notebook: Any) -> NotebookNode:
    """Copy a notebook without widgets and the stderr of cells that did not fail; the appendix comes last."""
    selected: NotebookNode = copy.deepcopy(notebook)
    _move_appendix(selected)
    for cell in selected.cells:
        if outputs := cell.get("outputs"):
            failed = any(output.output_type == "error" for output in outputs)
            cell.outputs = [output for output in outputs if _is_shown(output, failed=failed)]
    return selected


def _move_appendix(notebook: NotebookNode) -> None:
    moved = [cell for cell in notebook.cells if APPENDIX_TAG in cell.metadata.get("tags", [])]
    if not moved:
        return
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # sections out of order cannot be numbered
            cell.source = _NUMBERED.sub("### " if cell in moved else r"\1 ", cell.source)
    others = [cell for cell in notebook.cells if cell not in moved]
    notebook.cells = [*others, new_markdown_cell("## Appendix"), *moved]


def _is_shown(output: NotebookNode, *, failed: bool) -> bool:
    if output.output_type == "stream":
        return failed or output.name != "stderr"
    if output.output_type == "error":
        return True
    return _WIDGET not in output.data and any(kind in output.data for kind in SHOWN_TYPES)


def _close_off(main: Tag) -> None:
    """Remove what would run or fetch anything when the page is opened; links to click on stay."""
    for tag in main.find_all(_ACTIVE_TAGS):
        tag.decompose()
    for style in main.find_all("style"):
        # pandas puts a `scoped` style before each table, which browsers apply to the whole page.
        if style.has_attr("scoped") or _FETCHING_STYLE.search(style.get_text()):
            style.decompose()
    for tag in main.find_all(True):
        for name, value in list(tag.attrs.items()):
            if name.startswith("on") or not _is_closed(tag, name.lower(), str(value).strip()):
                del tag[name]
    for picture in main.find_all("img", src=False):
        picture.replace_with(f"[picture left out: {picture.get('alt') or 'no description'}]")


def _is_closed(tag: Tag, name: str, value: str) -> bool:
    if name == "style":
        return not _FETCHING_STYLE.search(value)
    if name == "href" and tag.name == "a":
        return not value.lower().startswith(("javascript:", "data:"))
    return name not in _ADDRESSES or value.startswith(("data:", "#"))


def _order_headings(main: Tag, *, title: str) -> None:
    """Leave one heading of level 1, the first, and no gap between the levels."""
    if main.find("h1") is None:
        heading = Tag(name="h1")
        heading.string = title
        main.insert(0, heading)
    level = 0
    for heading in main.find_all(HEADINGS):
        level = min(max(int(heading.name[1]), 2 if level else 1), level + 1)
        heading.name = f"h{level}"


def _place_front(main: Tag) -> None:
    front, heading = main.find(class_="front"), main.find("h1")
    if front and heading:
        (heading.find_next_sibling("p") or heading).insert_after(front.extract())


def _finish_bars(main: Tag) -> None:
    """Say in words what a progress bar that ended shows."""
    for stream in main.select("pre.stdout"):
        text, count = _BAR.subn(r"\1\4 in \2, \3\4/s", stream.get_text().strip())
        if count and "|" not in text:
            stream.name, stream.string = "p", text


def _describe_pictures(main: Tag) -> None:
    """Give each picture without an alternative text the heading above it, and its place under that heading."""
    heading, place = "", 0
    for tag in main.find_all([*HEADINGS, "img"]):
        if tag.name != "img":
            heading, place = read_text(tag), 0
            continue
        place += 1
        if (alt := str(tag.get("alt", ""))) in _NO_ALT or alt.startswith("<Figure"):
            tag["alt"] = f"{heading}, figure {place}"


def _link_headings(page: BeautifulSoup) -> None:
    """Give headings an anchor each, and list those of level 2 in the page's contents."""
    taken = {str(tag["id"]) for tag in page.find_all(id=True)}
    entries = []
    for heading in page.find_all(HEADINGS):
        text = read_text(heading)
        # The anchors Jupyter makes, so that links between sections of the notebook work here too.
        anchor = base = str(heading.get("id") or "-".join(text.split()))
        copies = 1
        while anchor in taken and "id" not in heading.attrs:
            copies += 1
            anchor = f"{base}-{copies}"
        taken.add(anchor)
        heading["id"] = anchor
        if heading.name != "h1":
            heading.append(_link(anchor, "#", attrs={"class": "anchor", "aria-label": f"Link to: {text}"}))
        if heading.name == "h2":
            entries.append((anchor, text))
    for contents in page.select("nav.contents"):
        if len(entries) < 2:
            contents.decompose()
            continue
        names = Tag(name="ol")
        for anchor, text in entries:
            item = Tag(name="li")
            item.append(_link(anchor, text))
            names.append(item)
        contents.append(names)


def _link(anchor: str, text: str, *, attrs: dict[str, str] | None = None) -> Tag:
    link = Tag(name="a", attrs={**(attrs or {}), "href": f"#{quote(anchor)}"})
    link.string = text
    return link
