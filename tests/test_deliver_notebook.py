"""The notebook in French: each text has its translation, in French typography."""

import re

import nbformat
from conftest import REPOSITORY

from fruits.yaml_text import read_yaml

PIPELINE = REPOSITORY / "notebooks" / "pipeline.ipynb"
FRENCH = REPOSITORY / "notebooks" / "pipeline.fr.yaml"
# Spans of code stay as they are.
CODE = re.compile(r"`[^`]*`")


def list_texts() -> dict[str, str]:
    cells = nbformat.read(PIPELINE, as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "markdown"}


def test_each_text_of_the_notebook_has_its_translation_in_the_same_order():
    assert list(read_yaml(FRENCH)) == list(list_texts())


def test_a_translation_has_the_headings_and_the_code_of_its_text():
    french = read_yaml(FRENCH)
    for key, text in list_texts().items():
        for form in (re.compile(r"^#+ (?:\d\.)?", re.MULTILINE), CODE):
            assert sorted(form.findall(french[key])) == sorted(form.findall(text)), key


def test_translations_have_french_typography():
    for key, text in read_yaml(FRENCH).items():
        prose = CODE.sub("", text).replace("Fruits!", "Fruits")
        assert not re.search(r"'|\"|(?<!\u202f)[;?!]|(?<!\u00a0):", prose), key
