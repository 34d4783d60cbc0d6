"""Texts of the deliverables: two languages side by side, no number typed, facts in the form of the language."""

import re
from pathlib import Path

import pytest

from fruits.yaml_text import read_yaml
from fruits_cli.deliver.language import LANGUAGES, TEMPLATES, Language, fill_texts

FILES = sorted(TEMPLATES.glob("*.yaml"))
PLACE = re.compile(r"\{[^{}]*\}")
# Digits in names: S3, MobileNetV2.
NUMBER = re.compile(r"(?<![A-Za-z])\d")


def list_lines(text: str | list[str]) -> list[str]:
    return text if isinstance(text, list) else [text]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_text_has_both_languages_the_same_facts_and_no_typed_number(file: Path) -> None:
    for key, pair in read_yaml(file).items():
        assert list(pair) == list(LANGUAGES), key
        english, french = (list_lines(pair[language]) for language in LANGUAGES)
        assert len(english) == len(french), key
        for left, right in zip(english, french, strict=True):
            assert left.strip(), key
            assert right.strip(), key
            assert sorted(PLACE.findall(left)) == sorted(PLACE.findall(right)), key
            assert not NUMBER.search(PLACE.sub("", left + right)), key


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_french_is_typed_with_plain_spaces_which_become_those_of_print(file: Path) -> None:
    french = Language("fr")
    for key, pair in read_yaml(file).items():
        for line in list_lines(pair["fr"]):
            assert not re.search("[\u00a0\u202f’]", line), key
            printed = french.polish(PLACE.sub("x", line)).replace("Fruits!", "Fruits")
            assert not re.search(r"'|\"|(?<!\u202f)[;?!»%]|(?<!\u00a0):", printed), (key, printed)


@pytest.mark.parametrize(
    ("value", "kind", "english", "french"),
    [
        (1280, "count", "1,280", "1\u202f280"),
        (0.9751, "share", "97.5%", "97,5\u202f%"),
        (0.9996, "variance", "99.9%", "99,9\u202f%"),
        (0.95, "target", "95%", "95\u202f%"),
        (9031936, "bytes", "8.61\u00a0MiB", "8,61\u00a0Mio"),
        (9.44, "seconds", "9.4\u00a0s", "9,4\u00a0s"),
        (302.2, "seconds", "302\u00a0s", "302\u00a0s"),
        ({"amount": 0.327, "currency": "EUR"}, "money", "€0.33", "0,33\u00a0€"),
        ("2025-11-02T08:15:04+00:00", "date", "November 2, 2025", "2 novembre 2025"),
        ("2025-11-01", "date", "November 1, 2025", "1er novembre 2025"),
    ],
)
def test_a_value_is_written_as_its_language_writes_it(value: object, kind: str, english: str, french: str) -> None:
    assert [Language(code).format(value, kind) for code in LANGUAGES] == [english, french]


def test_a_text_without_its_fact_is_left_out() -> None:
    texts: dict[str, str | list[str] | None] = {
        "a": "{pca.kept:count} kept",
        "b": "{spark.tasks:count} tasks",
        "c": ["plain", "{spark.tasks:count}"],
    }
    filled = fill_texts({**texts, "d": ["{spark:count}"]}, {"pca": {"kept": 7}, "spark": None}, Language("en"))
    assert filled == {"a": "7 kept", "b": None, "c": ["plain"], "d": None}
