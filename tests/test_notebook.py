"""The notebook: its form, and what it does when papermill runs it."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import REPOSITORY, WEIGHTS
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from scripts.make_notebooks import make_hub_notebook

from fruits import session
from fruits.errors import FruitsError
from fruits.notebook import Markdown, fill_parameters, quote
from fruits.params import KEYS, load_params
from fruits.results import SHARE_TOLERANCE
from fruits_cli.execution import OPTIONAL, check_notebook

NOTEBOOK = REPOSITORY / "notebooks" / "pipeline.ipynb"
HUB_NOTEBOOK = REPOSITORY / "notebooks" / "emr_jupyterhub.ipynb"
COMPARISON = REPOSITORY / "notebooks" / "compare.ipynb"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def cells() -> list[nbformat.NotebookNode]:
    return list(nbformat.read(NOTEBOOK, as_version=4).cells)


@pytest.mark.parametrize("notebook", [NOTEBOOK, HUB_NOTEBOOK, COMPARISON], ids=lambda file: file.stem)
def test_cells_are_short_stripped_and_without_definitions(notebook: Path) -> None:
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert cell.source.count("\n") < 12 or "parameters" in cell.metadata.get("tags", [])
            assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE)


def test_sections_are_numbered(cells: list[nbformat.NotebookNode]) -> None:
    headings = [cell.source.split()[1] for cell in cells if cell.source.startswith("## ")]
    assert headings == [f"{number}." for number in range(1, 11)]


def read_assigned(source: str) -> dict[str, object]:
    found = {}
    for node in ast.parse(source).body:
        assert isinstance(node, ast.Assign)
        assert isinstance(node.targets[0], ast.Name)
        found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_parameters_cell_mirrors_mini_and_sample(cells: list[nbformat.NotebookNode]) -> None:
    (cell,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    expected = vars(load_params("MINI", "sample"))
    assert read_assigned(cell.source) == expected | {"classes": list(expected["classes"])}


@pytest.mark.parametrize("place", ["s3://my-own/d\\1/#7", "a  # \"quoted\" 'one'\n", "\\g<0> \U0001f600"])
def test_only_the_named_values_of_a_parameters_cell_are_exchanged(
    cells: list[nbformat.NotebookNode], place: str
) -> None:
    (cell,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    values = {"output_dir": place, "fresh": True, "batch_size": 8}
    filled = fill_parameters(cell.source, values)
    assert read_assigned(filled) == read_assigned(cell.source) | values
    assert "fresh = True  # True: compute all features again" in filled


def test_the_notebook_of_the_hub_is_what_make_notebooks_makes(cells: list[nbformat.NotebookNode]) -> None:
    """And what it makes works on the cluster: places in S3, the code's property, figures shown, the session closed."""
    made = make_hub_notebook(nbformat.read(NOTEBOOK, as_version=4))
    assert nbformat.read(HUB_NOTEBOOK, as_version=4) == made, "run `make notebooks`"
    sources = {cell.id: cell.source for cell in made.cells}
    assert {cell.id for cell in cells} <= sources.keys()
    assert f'spark.conf.get("{session.CODE}")' in sources["where"]
    assert 'input_dir = "s3://BUCKET/' in sources["cell-02"]
    assert sources["leave"].startswith("%%_do_not_call_delete_session\n")
    drawn = [source for source in sources.values() if source.endswith("\n%matplot plt")]
    drawing = [cell for cell in cells if cell.source.endswith(";") or OPTIONAL in cell.metadata.get("tags", [])]
    assert len(drawn) == len(drawing)


def test_a_lost_tag_is_found(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)
    nbformat.write(notebook, tmp_path / "lost.ipynb")

    check_notebook(NOTEBOOK, names=KEYS)
    with pytest.raises(FruitsError, match="0 cells have the tag `parameters`"):
        check_notebook(tmp_path / "lost.ipynb", names=KEYS)


@pytest.mark.parametrize(
    "value",
    [
        '"; import os; os.abort() #',
        "\n__import__('os').abort()\n",
        "\\",
        "\\\"\n'",
        "''' \"\"\" {seed} {{}} %s $(ls) `ls`",
        "{__import__('os').abort()}",
        "\r\u2028\x00é\U0001f34e",
    ],
)
def test_values_are_values_in_the_notebook_and_never_code(value: str) -> None:
    notebook = load_notebook_node(str(NOTEBOOK))
    parameters = {"input_dir": value, "classes": [value, "Apple*"]}
    done = parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")

    (cell,) = (cell for cell in done.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert read_assigned(cell.source) == parameters


def test_a_text_is_markdown_to_jupyter_and_plain_to_livy() -> None:
    text = Markdown("> **3 images** of `Apple*`\nare **here**")
    assert text._repr_markdown_() == "> **3 images** of `Apple*`\nare **here**"
    assert repr(text) == "3 images of Apple*\nare here"
    assert repr(Markdown("> **a banner**\n\n> **a note**")) == "a banner\n\na note"
    assert repr(Markdown(f"**2** of {quote('a`b**c')} and {quote('`x`')}")) == "2 of a`b**c and `x`"


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    text = [str(word) for word in command]
    return subprocess.run(text, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.notebook
@pytest.mark.parametrize("parameters", ["max_imgs: 5\npca_components: 0\nmode: FOO", "input_dir: s3://"])
def test_plain_papermill_refuses_wrong_parameters(tmp_path: Path, parameters: str) -> None:
    (tmp_path / "wrong.yaml").write_text(parameters)

    done = run(BIN / "papermill", NOTEBOOK, "OUT.ipynb", "-f", "wrong.yaml", "--no-progress-bar", cwd=tmp_path)

    assert done.returncode == 1
    for line in parameters.splitlines():
        assert line.split(": ")[1] in done.stderr.rpartition("UsageError")[2]
    executed = nbformat.read(tmp_path / "OUT.ipynb", as_version=4)
    assert not any(cell.get("execution_count") for cell in executed.cells if "open_session(master" in cell.source)


@pytest.mark.notebook
@pytest.mark.tensorflow
def test_all_apples_of_fruits_360(tmp_path: Path, shared: Path, trained_models: Path) -> None:
    shutil.copytree(trained_models, tmp_path / "real/models")
    values = {"input_dir": shared / "fruits-360", "weights": shared / WEIGHTS, "evaluate": False}
    values |= {"output_dir": tmp_path / "real", "report_dir": tmp_path / "reports"}
    folders = [f"--set={key}={value}" for key, value in values.items()]
    done = run(BIN / "fruits", "run", "APPLES", "--target", "local", *folders, cwd=REPOSITORY)

    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "reports/local/APPLES/manifest.json").read_text())
    assert manifest["counts"] == {"listed": 6404, "features": 6404, "errors": 0, "reused": 0, "computed": 6404}
    assert manifest["pca"]["kept"] == 200
    # shared/README.md: equal to an independent EMR run of the official weights.
    variance = pd.read_csv(tmp_path / "real/APPLES/model_info/variance.csv", index_col="component")
    assert variance["share"][1] == pytest.approx(0.211406, abs=SHARE_TOLERANCE)
    assert variance["cumulative"][50] == pytest.approx(0.833971, abs=SHARE_TOLERANCE)
