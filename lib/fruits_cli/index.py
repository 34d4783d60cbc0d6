"""The page of all reports below a folder: what each run found, newest first, with links."""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from fruits import folders
from fruits.errors import UsageError
from fruits.manifest import find_value
from fruits.redaction import redact_secrets
from fruits_cli.front import describe_front

INDEX = "index.html"
# The folder of a comparison, beside those of the targets.
COMPARISON = "compare"
_TEMPLATES = Path(__file__).with_name("templates")
# An index without this line is somebody else's.
_SIGNATURE = '<meta name="generator" content="fruits reports">'
_PAGES = {"run.html": "report", "atlas.html": "map of all images"}


@dataclass(frozen=True)
class Report:
    """The folder of a report, by the names of its target and its run; what its manifest says; names of its pages."""

    target: str
    name: str
    manifest: Any
    pages: Collection[str] = ("run.html",)


def write_index(root: Path) -> Path:
    """Write `index.html` into a folder of reports, local or in S3; one that somebody else made stays as it is."""
    page = root / INDEX
    if page.exists() and _SIGNATURE not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page} was not made by `fruits reports` and stays as it is; move it, to have an index here.")
    compared = (root / COMPARISON / "run.html").is_file()
    folders.write_bytes(page, redact_secrets(render_index(find_reports(root), compared=compared)).encode())
    return page


def find_reports(root: Path) -> list[Report]:
    """Return the reports in `<root>/<target>/<name>`; one without a readable manifest has None for it."""
    found = []
    for target in folders.as_folder(root).list_folders():
        for name in folders.as_folder(root / target).list_folders():
            folder, manifest = root / target / name, None
            pages = [page for page in _PAGES if (folder / page).is_file()]
            with suppress(OSError, ValueError):
                manifest = json.loads((folder / "manifest.json").read_bytes())
            if not name.startswith(".") and (pages or manifest is not None):
                found.append(Report(target, name, manifest, pages))
    return found


def render_index(reports: Sequence[Report], *, compared: bool = False) -> str:
    """Render the page; what a manifest of an earlier version does not say is left out. `compared`: link to it."""
    places = [_TEMPLATES / "reports", _TEMPLATES / "reader"]
    template = Environment(loader=FileSystemLoader(places), autoescape=True)
    ordered = sorted(reports, key=lambda report: str(find_value(report.manifest, "started") or ""), reverse=True)
    entries = [_describe(report) for report in ordered]
    comparison = f"{COMPARISON}/run.html" if compared else None
    return template.get_template("index.html.j2").render(entries=entries, signature=_SIGNATURE, comparison=comparison)


def _describe(report: Report) -> dict[str, Any]:
    front = None
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        front = describe_front(report.manifest)
    when = find_value(report.manifest, "started")
    with suppress(ValueError, TypeError):
        when = datetime.fromisoformat(when).strftime("%Y-%m-%d %H:%M %Z")
    told = isinstance(report.manifest, dict)
    return {
        "title": f"{report.name} ({report.target})",
        "when": when or ("No date" if told else "The manifest cannot be read"),
        "links": [(_PAGES[page], quote(f"{report.target}/{report.name}/{page}")) for page in report.pages],
        "front": front,
    }
