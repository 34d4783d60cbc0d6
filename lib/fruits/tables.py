"""CSV tables: for programs everywhere (`international`), or as Excel in French opens them (`excel-fr`)."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from fruits.arrow import to_matrix
from fruits.folders import open_output, write_bytes
from fruits.images.rows import NAMES

_ROWS, _THREADS = 8192, 8
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """How CSV files are written; `neutral` puts an apostrophe before a text that a spreadsheet takes for a formula."""

    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    neutral: bool = False

    def spell(self, text: str) -> str:
        """Return a text as its cell holds it."""
        return f"'{text}" if self.neutral and text.startswith(_FORMULA) else text

    def write_rows(self, file: Path, header: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
        """Write rows of texts, sorted."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter)
        writer.writerows([header, *([*map(self.spell, row)] for row in sorted(rows))])
        write_bytes(file, text.getvalue().encode(self.encoding))

    def write_table(self, file: Path, table: pd.DataFrame) -> None:
        """Write a table without its index."""
        write_bytes(file, self._format(table).encode(self.encoding))

    def write_scores(self, file: Path, scores: pa.Table, *, width: int) -> None:
        """Write path, label, split and `pca` as `width` columns, pc_001 and so on, of a table with these columns."""
        # Three digits until a thousand components ask for more, so that the columns sort.
        digits = max(3, len(str(width)))
        names = [*NAMES, *(f"pc_{number:0{digits}d}" for number in range(1, width + 1))]
        # Each holds the text of a part: 80 MB with 200 components. pandas spells in one thread at a time.
        threads = min(os.cpu_count() or 1, _THREADS) if self == CsvFormat() else 1
        with open_output(file) as stream, ThreadPoolExecutor(threads) as pool:
            stream.write((self.delimiter.join(names) + "\n").encode(self.encoding))
            parts = [scores.slice(start, _ROWS) for start in range(0, len(scores), _ROWS)]
            for first in range(0, len(parts), threads):
                stream.writelines(pool.map(self._spell_scores, parts[first : first + threads], repeat(names)))

    def _spell_scores(self, scores: pa.Table, names: Sequence[str]) -> bytes | pa.Buffer:
        # Doubles spell a float32 exactly; its own shortest text is off by 1e-6 and more beyond 16.
        matrix = to_matrix(scores["pca"].combine_chunks()).astype("float64")
        table = pa.table([*(scores[name] for name in NAMES), *map(pa.array, matrix.T.copy())], names=names)
        if self != CsvFormat():
            return self._format(table.to_pandas(), header=False).encode()
        # Several times as fast; it writes no decimal comma.
        pa_csv.write_csv(table, text := pa.BufferOutputStream(), pa_csv.WriteOptions(include_header=False))
        return text.getvalue()

    def read_table(self, file: Path, *, rows: int | None = None) -> pd.DataFrame:
        """Read what `write_table` or `write_scores` wrote, or its first rows; texts are as their cells hold them."""
        with file.open("rb") as stream:
            return pd.read_csv(
                stream,
                sep=self.delimiter,
                decimal=self.decimal,
                encoding=self.encoding,
                keep_default_na=False,
                # A class may be called 007.
                dtype=dict.fromkeys((*NAMES, "predicted", "neighbours_label"), str),
                nrows=rows,
            )

    def read_scores(self, file: Path) -> pa.Table:
        """Read what `write_scores` wrote, in several threads: texts as their cells hold them, the others float64."""
        with file.open("rb") as stream:
            names = stream.readline().decode(self.encoding).rstrip("\n").split(self.delimiter)
            stream.seek(0)
            return pa_csv.read_csv(
                stream,
                pa_csv.ReadOptions(column_names=names, skip_rows=1),
                pa_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                pa_csv.ConvertOptions(
                    column_types={name: pa.string() if name in NAMES else pa.float64() for name in names},
                    strings_can_be_null=False,
                    decimal_point=self.decimal,
                ),
            )

    def _format(self, table: pd.DataFrame, *, header: bool = True) -> str:
        texts = {name: column.map(self.spell) for name, column in table.select_dtypes("object").items()}
        # pandas leaves a carriage return in a name unquoted, and would split the row there when reading.
        bare = any(column.str.contains("\r").any() for column in texts.values())
        quoting = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
        written: str = table.assign(**texts).to_csv(
            index=False, header=header, sep=self.delimiter, decimal=self.decimal, quoting=quoting
        )
        return written


FORMATS = {
    "international": CsvFormat(),
    "excel-fr": CsvFormat(delimiter=";", decimal=",", encoding="utf-8-sig", neutral=True),
}
