"""The notebook that is handed in; in French each text has its translation, in French typography."""

import io
import re
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY
from deliveries import write_delivery
from PIL import Image

from fruits.errors import UsageError
from fruits.yaml_text import read_yaml
from fruits_cli.deliver.notebook import find_pictures, read_notebook, read_translation, translate_notebook

PIPELINE = REPOSITORY / "notebooks" / "pipeline.ipynb"
FRENCH = REPOSITORY / "notebooks" / "pipeline.fr.yaml"
# Spans of code stay as they are.
CODE = re.compile(r"`[^`]*`")


def list_texts() -> dict[str, str]:
    cells = nbformat.read(PIPELINE, as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "markdown"}


def test_each_text_of_the_notebook_has_its_translation_in_the_same_order() -> None:
    assert list(read_yaml(FRENCH)) == list(list_texts())


def test_a_translation_has_the_headings_and_the_code_of_its_text() -> None:
    french = read_yaml(FRENCH)
    for key, text in list_texts().items():
        for form in (re.compile(r"^#+ (?:\d\.)?", re.MULTILINE), CODE):
            assert sorted(form.findall(french[key])) == sorted(form.findall(text)), key


def test_translations_have_french_typography() -> None:
    for key, text in read_yaml(FRENCH).items():
        prose = CODE.sub("", text).replace("Fruits!", "Fruits")
        assert not re.search(r"'|\"|(?<!\u202f)[;?!]|(?<!\u00a0):", prose), key


def test_texts_are_replaced_by_their_id_and_code_and_outputs_stay(tmp_path: Path) -> None:
    report = write_delivery(tmp_path).report
    notebook = read_notebook(report / "run.ipynb")

    french = translate_notebook(notebook, read_translation("fr"))

    first, own, code = nbformat.from_dict(french).cells
    assert "".join(first.source) == read_yaml(FRENCH)["cell-00"]
    assert [own, code] == nbformat.from_dict(notebook).cells[1:]
    nbformat.validate(french)


def test_english_is_as_it_was_executed(tmp_path: Path) -> None:
    notebook = read_notebook(write_delivery(tmp_path).report / "run.ipynb")

    assert translate_notebook(notebook, read_translation("en")) == notebook


def test_the_pictures_of_a_cell_are_found(tmp_path: Path) -> None:
    notebook = read_notebook(write_delivery(tmp_path).report / "run.ipynb")
    (shown,) = notebook["cells"][2]["outputs"]
    others = (
        {"image/jpeg": ["YWJ", "j"], "text/plain": "a"},
        {"image/jpeg": "eA==", "image/png": "eQ=="},
        {"text/plain": "b"},
    )
    notebook["cells"][2]["outputs"] += [{**shown, "data": data} for data in others] + [{"output_type": "stream"}]

    first, *more = find_pictures(notebook, "cell-12")

    assert Image.open(io.BytesIO(first)).size == (300, 200)
    assert more == [b"abc", b"y"]
    assert find_pictures(notebook, "cell-00") == find_pictures(notebook, "gone") == []


@pytest.mark.parametrize("content", [None, "no json", "3"])
def test_what_is_not_a_notebook_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.ipynb").write_text(content)

    with pytest.raises(UsageError, match="is not an executed notebook"):
        read_notebook(tmp_path / "run.ipynb")
