"""`fruits compare`: the notebook on four small runs, its page, and what is refused."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from finished_runs import make_features, make_run
from matplotlib import pyplot

from fruits_cli.execution import check_notebook
from fruits_cli.index import write_index

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "compare.ipynb"


def compare(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("fruits")), "compare", *words, "--target", "local"]
    folder = f"--set=report_dir={root}/reports"
    return subprocess.run([*command, folder], cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.notebook
def test_four_runs_are_compared_on_one_page(tmp_path: Path) -> None:
    features = make_features()
    make_run(tmp_path, "MINI", features)
    make_run(tmp_path, "APPLES", 2 * features, model="model-b")
    moved = make_run(tmp_path / "elsewhere", "moved", features, quality=None, seconds=None)
    make_run(tmp_path, "far", features, first=500)
    done = compare(tmp_path, "MINI", "APPLES", str(moved), "reports/local/far")

    page = tmp_path / "reports/compare/run.html"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"fruits: the page is {page}"
    read = BeautifulSoup(page.read_text(), "html.parser")
    assert [heading.text.rstrip("#") for heading in read.find_all("h3")] == [
        f"{one} and {two}"
        for one, two in (
            *(("MINI", "APPLES"), ("MINI", "moved"), ("MINI", "far")),
            *(("APPLES", "moved"), ("APPLES", "far"), ("moved", "far")),
        )
    ]
    said = read.get_text()
    for sentence in ("features: differs: the largest", "accuracy, official: same within noise", "no images in common"):
        assert sentence in said
    assert len(read.find_all("img")) == 3
    assert sorted(file.name for file in page.parent.iterdir()) == ["run.html", "run.ipynb"]
    index = BeautifulSoup((tmp_path / "reports/index.html").read_text(), "html.parser")
    link, *_ = index.find_all("a", string="Runs compared")
    assert link["href"] == "compare/run.html"


def test_one_run_that_measured_nothing_has_a_table_and_sentences(tmp_path: Path) -> None:
    file = make_run(tmp_path, "MINI", make_features(), quality=None, seconds=None)
    (tmp_path / "data/MINI/run.json").unlink()
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    names: dict[str, Any] = {}
    shown = {}
    with pyplot.rc_context():
        for cell in cells:
            *lines, last = ast.parse(cell.source).body
            # What a cell ends in is what it shows.
            ending = ast.Assign([ast.Name("_", ast.Store())], last.value) if isinstance(last, ast.Expr) else last
            code = ast.fix_missing_locations(ast.Module([*lines, ending], []))
            exec(compile(code, cell.id, "exec"), names)  # noqa: S102 - cells of this repository
            shown[cell.id] = names.pop("_", None)
            names |= {"runs": [str(file)]} if cell.id == "parameters" else {}
        assert pyplot.get_fignums() == []
    assert len(shown["facts"].columns) == 1
    assert shown["notes"].text == f"- `MINI`: its results are not in {tmp_path}/data/MINI."
    assert shown["accuracy-k"].text == "No run measured how well images are told apart."
    assert shown["pairs"].text == "There is one run only, and no pair."


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "mine", make_features())
    done = compare(tmp_path, "yours")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are reports of mine. Name one" in done.stderr
    (tmp_path / "reports/compare").mkdir()
    (tmp_path / "reports/compare/notes.txt").touch()
    done = compare(tmp_path, "mine")
    assert done.returncode == 2
    assert "holds 1 files or folders that no run put there: 'notes.txt'" in done.stderr


def test_the_notebook_takes_what_the_command_gives_and_no_page_means_no_link(
    tmp_path: Path,
) -> None:
    check_notebook(NOTEBOOK, names=("runs", "target", "report_dir"))
    assert "Runs compared" not in write_index(tmp_path).read_text()
