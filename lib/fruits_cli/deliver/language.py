"""Numbers, dates and texts as a language writes them, and the texts of a deliverable, side by side in one file."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal

from fruits.pca import format_share, format_target
from fruits.yaml_text import read_yaml

TEMPLATES = Path(__file__).parents[1] / "templates" / "deliverables"
LANGUAGES = ("en", "fr")
# No-break spaces, thin and wide.
_THIN, _WIDE = "\u202f", "\u00a0"
Texts = dict[str, str | list[str] | None]


@dataclass(frozen=True)
class Language:
    """A language by its code, `en` or `fr`."""

    code: str

    def format(self, value: Any, kind: str = "") -> str:
        """Write a value as a text; the kinds are `count`, `share` and the others of `_kinds`."""
        written: str = self._kinds[kind](value)
        return written

    @cached_property
    def _kinds(self) -> dict[str, Any]:
        def number(value: float, pattern: str) -> str:
            return format_decimal(value, pattern, locale=self.code)

        def spaced(text: str) -> str:
            """Write a percentage that has a point as this language does."""
            return text if self.code == "en" else text.replace(".", ",").replace("%", f"{_THIN}%")

        def first(date: str) -> str:
            """Write the first day of a month as an ordinal in French."""
            return re.sub("^1 ", "1er ", date) if self.code == "fr" else date

        return {
            "": str,
            "count": lambda value: number(value, "#,##0"),
            "decimal": lambda value: number(value, "#,##0.0"),
            "places": lambda value: number(value, "#,##0.00"),
            # A share of the variance is cut off, an accuracy rounded, as in the report.
            "share": lambda value: spaced(f"{100 * value:.1f}%"),
            "variance": lambda value: spaced(format_share(value)),
            "percent": lambda value: spaced(f"{100 * value:.0f}%"),
            "target": lambda value: spaced(format_target(value)),
            "bytes": lambda value: self._scale(value, number),
            "seconds": lambda value: f"{number(value, '#,##0' if value >= 10 else '0.0')}{_WIDE}s",
            "minutes": lambda value: f"{number(value, '#,##0.#')}{_WIDE}min",
            "money": lambda value: format_currency(value["amount"], value["currency"], locale=self.code),
            "digits": lambda value: number(value, "#,##0.0000"),
            "moment": lambda value: f"{self.format(value, 'date')}, {datetime.fromisoformat(value):%H:%M} UTC",
            "date": lambda value: first(format_date(datetime.fromisoformat(value), "long", locale=self.code)),
            "hash": lambda value: value[:12],
            "list": lambda value: ", ".join(map(str, value)),
        }

    def _scale(self, size: float, number: Any) -> str:
        for power, unit in ((30, "G"), (20, "M"), (10, "k" if self.code == "fr" else "K")):
            if size >= 2**power:
                return f"{number(size / 2**power, '#,##0.00')}{_WIDE}{unit}{'io' if self.code == 'fr' else 'iB'}"
        return f"{number(size, '#,##0')}{_WIDE}{'o' if self.code == 'fr' else 'B'}"

    def polish(self, text: str) -> str:
        """Put the spaces and apostrophes of the language into a text that was typed with plain ones."""
        if self.code == "fr":
            text = re.sub(r" (?=[;!?%»])|(?<=«) ", _THIN, re.sub(r" (?=:)", _WIDE, text))
        return text.replace("'", "’")


class _Filler(string.Formatter):
    """Fills `{pca.cumulative:variance}` from nested facts; a fact that is missing or None raises LookupError."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        found: Any = kwargs
        for part in field_name.split("."):
            found = found[part] if isinstance(found, Mapping) else None
        if found is None:
            raise LookupError(field_name)
        return found, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        return self.language.format(value, format_spec)


def read_texts(name: str, language: Language) -> Texts:
    """Return the texts of a deliverable, `presentation` or `images`, by their keys, in one language."""
    return {key: pair[language.code] for key, pair in read_yaml(TEMPLATES / f"{name}.yaml").items()}


def fill_texts(texts: Texts, facts: Mapping[str, Any], language: Language) -> Texts:
    """Put facts into the places of texts, `{counts.features:count}`; a text that lacks one becomes None.

    Of a list, the texts that lack a fact are left out; if that is all of them, it becomes None.
    """
    filler = _Filler(language)

    def fill(text: str) -> str | None:
        try:
            return filler.vformat(language.polish(text), (), facts)
        except LookupError:
            return None

    filled: Texts = {}
    for key, text in texts.items():
        if isinstance(text, list):
            filled[key] = [line for line in map(fill, text) if line] or None
        else:
            filled[key] = fill(text or "")
    return filled
