"""reports/example: what git keeps of a run is that of the notebook as it is now, complete and small."""

import re

import nbformat
from conftest import REPOSITORY

EXAMPLE = REPOSITORY / "reports" / "example"
MAKE = "`make example` makes it again"
DELIVERABLES = r"Ada_Lovelace_(1_notebook_\d{6}\.ipynb|2_images_\d{6}\.pdf|3_presentation_\d{6}\.pdf)"


def test_is_whole_and_small() -> None:
    files = {file.name: file.stat().st_size for file in EXAMPLE.iterdir()}
    others = {name for name in files if not re.fullmatch(DELIVERABLES, name)}
    assert others == {"run.html", "run.ipynb", "variance.png"}, MAKE
    assert len(files) - len(others) == 3, MAKE
    assert sum(files.values()) < 3_000_000


def test_is_of_this_notebook() -> None:
    executed = nbformat.read(EXAMPLE / "run.ipynb", as_version=4).cells
    kept = [cell.source for cell in executed if "injected-parameters" not in cell.metadata.get("tags", [])]
    now = nbformat.read(REPOSITORY / "notebooks" / "pipeline.ipynb", as_version=4).cells
    assert kept == [cell.source for cell in now], f"notebooks/pipeline.ipynb has changed; {MAKE}"
    assert any(cell.get("outputs") for cell in executed), "git stripped its outputs"
