"""The presentation: slides and speaker notes of a run, as a PDF."""

from typing import Any

from fruits_cli.deliver.facts import Run, gather_facts
from fruits_cli.deliver.language import Language, fill_texts, read_texts
from fruits_cli.deliver.typesetting import typeset


def make_presentation(run: Run, *, author: str, language: Language, **options: Any) -> bytes:
    """Return the presentation of a run; `options` as `typeset`."""
    facts = {**gather_facts(run), "author": author}
    texts = fill_texts(read_texts("presentation", language), facts, language)
    return typeset("presentation", {"texts": texts}, language=language, files={}, **options)
