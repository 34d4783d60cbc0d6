"""The tables of a page: their headers, numbers and labels."""

import re
from typing import Any

from bs4 import Tag

HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
_NUMBER = re.compile(r"[-+−]?\d[\d,.\s]*(e[-+]?\d+)?\s*%?|nan|[-—–]?", re.IGNORECASE)


def set_tables(main: Tag) -> None:
    """Align numbers on the right, tell headers by their scope, and say in a sentence that a table is empty."""
    for table in main.find_all("table"):
        for tag in (table, *table.find_all("tr")):
            for name in ("border", "style"):
                del tag[name]
        for header in table.find_all("th"):
            header["scope"] = "col" if header.find_parent("thead") else "row"
        _join_index_names(table)
        if not table.find("td"):
            _say_empty(table)
            continue
        _align_numbers(table)
        heading = table.find_previous(HEADINGS)
        label = f"Table: {read_text(heading)}" if heading else "Table"
        table.wrap(Tag(name="div", attrs={"class": "table", "role": "region", "tabindex": "0", "aria-label": label}))


def read_text(tag: Any) -> str:
    """Return the text of a tag on one line."""
    return " ".join(tag.get_text().split())


def _say_empty(table: Tag) -> None:
    *names, last = [name for header in table.find_all("th") if (name := read_text(header))] or ["nothing"]
    listed = f"{', '.join(names)} and {last}" if names else last
    sentence = Tag(name="p")
    sentence.string = f"The table of {listed} has no rows."
    table.replace_with(sentence)


def _join_index_names(table: Tag) -> None:
    """Put the names of a pandas index, which come in a row of their own, into the row of the column names."""
    rows = [row.find_all("th") for row in table.select("thead tr")]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]):
        return
    if not any(read_text(above) and read_text(below) for above, below in zip(*rows, strict=True)):
        for above, below in zip(*rows, strict=True):
            above.string = read_text(above) or read_text(below)
        table.select("thead tr")[1].decompose()


def _align_numbers(table: Tag) -> None:
    rows = [row.find_all("td") for row in table.find_all("tr") if row.find("td")]
    headers = [row.find_all("th") for row in table.select("thead tr") if not row.select("[colspan]")]
    width = min((len(row) for row in rows), default=0)
    for place in range(-width, 0):
        if all(_NUMBER.fullmatch(read_text(row[place])) for row in rows):
            for cells in rows + [cells for cells in headers if len(cells) >= width]:
                cells[place]["class"] = "number"
