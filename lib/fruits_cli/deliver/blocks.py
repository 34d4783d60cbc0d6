"""The parts that the pages of `images.typ` are made of, as data: texts, lists of facts, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fruits_cli.deliver.language import Language, Texts, fill_texts

Block = dict[str, Any]
# Signs of a text in a table; longer ones end in an ellipsis.
_LONGEST = 160


@dataclass(frozen=True)
class Words:
    """The texts of a document in a language, and the facts that are filled in."""

    language: Language
    texts: Texts
    facts: Mapping[str, Any]

    def __call__(self, key: str, **more: Any) -> str:
        """Return a text with its facts, and those of this call; empty if it lacks one."""
        return self.fill(str(self.texts[key]), **more) or ""

    def fill(self, text: str, **more: Any) -> str | None:
        """Fill in a text that is none of the document's; None if it lacks a fact."""
        filled = fill_texts({text: text}, {**self.facts, **more}, self.language)[text]
        return filled if isinstance(filled, str) else None

    def list_facts(self, facts: Mapping[str, str]) -> Block:
        """Make a list of facts: a text as the name, and what is filled in as the value; unknown ones are left out."""
        filled = {name: self.fill(value) for name, value in facts.items()}
        return make_facts([(self(name), value) for name, value in filled.items() if value])


def make_section(title: str, *blocks: Block | None, page: bool = False) -> dict[str, Any]:
    """Make a chapter of a title and those blocks that there are; `page` begins it on a new page."""
    return {"title": title, "blocks": [block for block in blocks if block], "page": page}


def make_text(text: str, *, kind: str = "text") -> Block:
    """Make a paragraph; of kind `heading`, `above` (it stays with what follows) or `notice` (in a box)."""
    return {"kind": kind, "text": text}


def make_facts(rows: Sequence[tuple[str, str]], *, dense: bool = False) -> Block:
    """Make a list of names and values; a dense one has two columns of them."""
    return {"kind": "facts", "rows": [list(row) for row in rows], "dense": dense}


def make_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    widths: Sequence[float] = (),
    **more: Any,
) -> Block:
    """Make a table of texts; `more` may have `file` and `note`, the name of a file and a sentence above the table.

    The columns in `right` are aligned there, and as wide as they need. The others share what is left by `widths`, a
    number each; equally by default.
    """
    shares = iter(widths or [1.0] * len(header))
    sizes = [{"right": place in right, "share": 0 if place in right else next(shares)} for place in range(len(header))]
    return {"kind": "table", "header": list(header), "columns": sizes, "rows": [list(row) for row in rows], **more}


def show_frame(frame: pd.DataFrame, *, words: Words, **more: Any) -> Block:
    """Make a table of a DataFrame, with numbers in the format of the language; `more` as in `make_table`."""
    numeric = [is_numeric_dtype(dtype) for dtype in frame.dtypes]
    texts = [[_show_value(value, words.language) for value in row] for row in frame.itertuples(index=False)]
    lengths = [max([len(row[place]) for row in texts], default=1) for place in range(len(numeric))]
    widths = [min(max(length, 8), 40) for length, number in zip(lengths, numeric, strict=True) if not number]
    right = [place for place, number in enumerate(numeric) if number]
    return make_table([*map(str, frame.columns)], texts, right=right, widths=widths, **more)


def _show_value(value: Any, language: Language) -> str:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    return language.format(value, "digits" if isinstance(value, float) else "count")
