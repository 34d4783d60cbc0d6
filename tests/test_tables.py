"""CSV tables in both formats: known bytes, and the same values when they are read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fruits.params import CSV_FORMATS
from fruits.tables import FORMATS

NAMES = ["=1+1.jpg", 'été; 2024/"a", b.jpg', "-x\r\n.jpg", "'quoted.jpg", "plain.jpg"]
EXCEL, INTERNATIONAL = FORMATS["excel-fr"], FORMATS["international"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("international", b"path,reason\r\n=1+1.jpg,a;b\r\n"),
        ("excel-fr", b'\xef\xbb\xbfpath;reason\r\n\'=1+1.jpg;"a;b"\r\n'),
    ],
)
def test_rows(name: str, expected: bytes, tmp_path: Path) -> None:
    FORMATS[name].write_rows(tmp_path / "rows.csv", ["path", "reason"], [("=1+1.jpg", "a;b")])
    assert (tmp_path / "rows.csv").read_bytes() == expected


def test_a_table_has_the_decimal_comma_of_excel_and_whole_names(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a;b.jpg", "@x"], "share": [0.5, -1e-9]})
    EXCEL.write_table(tmp_path / "table.csv", table)
    assert (tmp_path / "table.csv").read_text("utf-8-sig") == 'path;share\n"a;b.jpg";0,5\n\'@x;-1e-09\n'
    INTERNATIONAL.write_table(tmp_path / "table.csv", table)
    assert (tmp_path / "table.csv").read_text() == "path,share\na;b.jpg,0.5\n@x,-1e-09\n"


@pytest.mark.parametrize("name", FORMATS)
def test_scores_read_back_are_those_written(name: str, tmp_path: Path) -> None:
    rows = 9000  # more than are written at once
    matrix = (1000 * np.random.default_rng(1).normal(size=(rows, 2))).astype(np.float32)
    paths = [NAMES[number] if number < len(NAMES) else f"{number}.jpg" for number in range(rows)]
    table = pa.table({"path": paths, "label": ["007"] * rows, "split": ["NA"] * rows, "pca": list(matrix)})

    FORMATS[name].write_scores(tmp_path / "pca.csv", table, width=2)
    found = FORMATS[name].read_scores(tmp_path / "pca.csv").to_pandas()

    pd.testing.assert_frame_equal(found, FORMATS[name].read_table(tmp_path / "pca.csv"))
    assert found.columns.tolist() == ["path", "label", "split", "pc_001", "pc_002"]
    assert found["path"].tolist() == [*map(FORMATS[name].spell, paths)]
    assert (found["label"].unique().tolist(), found["split"].unique().tolist()) == (["007"], ["NA"])
    np.testing.assert_array_equal(found.filter(like="pc_").to_numpy().astype(np.float32), matrix)


def test_every_format_is_a_parameter_and_the_other_way_round() -> None:
    assert (*FORMATS,) == CSV_FORMATS


def test_only_excel_gets_an_apostrophe_before_formulas() -> None:
    assert [EXCEL.spell(text) for text in ["=1", "+1", "-1", "@a", "\ta", "\ra", "a=1", "'a", ""]] == [
        *("'=1", "'+1", "'-1", "'@a", "'\ta", "'\ra", "a=1", "'a", ""),
    ]
    assert [INTERNATIONAL.spell(text) for text in NAMES] == NAMES
