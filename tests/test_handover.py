"""`fruits deliver`: three files, their names, and what is said of screenshots that are none."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import put
from deliveries import write_delivery
from PIL import Image
from pypdf import PdfReader

from fruits_cli.cli import cli
from fruits_cli.deliver.notebook import read_translation


def deliver(root: Path, *options: str) -> Result:
    places = ("--set", f"report_dir={root / 'reports'}", "--set", f"output_dir={root / 'data'}", "--target", "local")
    return CliRunner().invoke(cli, ["deliver", "APPLES", "--author", "Ada Lovelace", *places, *options])


def test_the_three_files_are_in_the_report_and_in_the_language(tmp_path: Path) -> None:
    report = write_delivery(tmp_path / "run").report
    shots = put(tmp_path / "shots", "notes.txt")
    Image.new("RGB", (40, 20)).save(shots / "01 Bucket.png")

    done = deliver(tmp_path / "run", "--lang", "fr", "--screenshots", str(shots))

    assert done.exit_code == 0, done.output
    notebook, images, presentation = sorted((report / "deliverables").iterdir())
    assert notebook.name == "Ada_Lovelace_1_notebook_112025.ipynb"
    assert images.name == "Ada_Lovelace_2_images_112025.pdf"
    assert presentation.name == "Ada_Lovelace_3_presentation_112025.pdf"
    assert [line for line in done.output.splitlines() if "deliverables" in line] == [
        str(file) for file in (notebook, images, presentation)
    ]
    assert "not pictures, and left out: notes.txt" in done.output
    first, *_ = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert "".join(first["source"]) == read_translation("fr")["cell-00"]
    assert "01 Bucket" in PdfReader(images).pages[-1].extract_text()


@pytest.mark.parametrize(
    ("name", "said"), [("run.ipynb", "is not an executed notebook"), ("manifest.json", "no report")]
)
def test_a_report_that_is_not_whole_gets_none(tmp_path: Path, name: str, said: str) -> None:
    report = write_delivery(tmp_path).report
    (report / name).unlink()

    done = deliver(tmp_path)

    assert done.exit_code != 0
    assert said in str(done.exception)
    assert not (report / "deliverables").exists()
