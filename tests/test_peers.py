"""The peers' arithmetic, verdicts and page, on made-up figures and small files. Nothing here measures time."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.peers import page
from benchmarks.peers.catalogue import PEERS, count_lines
from benchmarks.peers.trials import cut_file, find_gap, judge_cut, run

CODE = '''"""Text."""

import os

# A comment.
def add(a, b):
    """Add.

    More.
    """
    # Why.
    return (
        a + b
    )
'''


def write(output: Path, rows: dict[str, Any]) -> None:
    output.mkdir(exist_ok=True)
    paths = [f"file:///x/Training/{name}" for name in rows]
    pq.write_table(pa.table({"path": paths, "features": list(rows.values())}), output / "0.parquet")


def measured(seconds: float, *, family: int = 500, code: int = 0) -> dict[str, Any]:
    peaks = {"family": family, "largest": 300}
    return {
        "seconds": seconds,
        "code": code,
        "peak_mib": peaks,
        "images": 100,
        "gap": 2e-5,
        "said": "no luck",
        "left": [],
    }


def test_lines_of_code_are_counted_without_comments_and_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(CODE)

    assert (count_lines(file), count_lines(file, ("add",))) == (5, 4)
    assert all(peer.count_lines() > 5 for peer in PEERS)


def test_a_cut_file_is_half_as_long_and_the_others_are_whole(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "Training" / "Apple"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"x" * 10)

    assert cut_file(tmp_path / "images", tmp_path / "cut") == "Apple/1.jpg"
    assert [file.stat().st_size for file in sorted((tmp_path / "cut").rglob("*.jpg"))] == [10, 5, 10]


@pytest.mark.parametrize(
    ("code", "rows", "text", "verdict"),
    [
        (1, {}, "OSError", "the run fails; no name"),
        (1, {}, "a/1.jpg: OSError", "the run fails; the log names the file"),
        (0, {"a/0.jpg": [1.0]}, "", "the others are done (1 of 1), no row; nothing is said"),
        (0, {"a/0.jpg": [1.0], "a/1.jpg": None}, "", "a row without features"),
        (0, {"a/0.jpg": [1.0], "a/1.jpg": [1.0]}, "", "features of half a picture, nothing is said"),
    ],
)
def test_a_cut_file_is_judged_by_code_rows_and_log(
    tmp_path: Path, code: int, rows: dict[str, Any], text: str, verdict: str
) -> None:
    if rows:
        write(tmp_path / "output", rows)
    assert judge_cut({"code": code}, tmp_path / "output", name="a/1.jpg", images=2, text=text) == verdict


def test_the_gap_is_over_the_images_of_both(tmp_path: Path) -> None:
    write(tmp_path / "output", {"a/0%201.jpg": [1.0, 2.0], "a/2.jpg": [9.0, 9.0]})

    assert find_gap(tmp_path / "output", {"a/0 1.jpg": [1.0, 2.5], "a/3.jpg": [0.0, 0.0]}) == 0.5


def test_a_command_that_hangs_is_killed(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", "import time; time.sleep(60)"], work=tmp_path, log=tmp_path / "log", kill_after=1)

    assert done["code"] == -9
    assert 1 <= done["seconds"] < 20
    assert done["peak_mib"]["family"] > 0


@pytest.mark.parametrize(
    ("again", "rows", "lost", "verdict"),
    [
        ({}, 0, 5, "no file was left"),
        ({"code": 1, "said": "exists"}, 0, 5, "the second run refuses: exists"),
        ({"code": 0}, 150, 5, "the second run leaves 150 rows for 100 images"),
        ({"code": 0}, 100, 1, "the second run uses what the first had done"),
        ({"code": 0}, 100, 5, "the second run does everything again"),
    ],
)
def test_a_kill_is_judged_by_the_second_run(again: dict[str, Any], rows: int, lost: float, verdict: str) -> None:
    killed = {"killed": measured(5), "again": again, "rows": rows, "images": 100, "lost": lost}
    assert page.judge_kill(killed) == verdict


def test_the_page_names_who_is_ahead_and_who_failed(tmp_path: Path) -> None:
    fits = [{**measured(10), "shares": [0.5, 0.25]}]
    runs = {
        "ours": [measured(10), measured(20)],
        "plain processes": [measured(5, family=900)],
        "Daft": [measured(1, code=1)],
    }
    small = {"ours": [measured(12.6)], "plain processes": [measured(3.4)]}
    found = {"images": 100, "machine": {"cores": 2}, "runs": runs, "small": small, "pca": {"ours": fits}}

    page.write_page(found, tmp_path)

    text = (tmp_path / "PEERS.md").read_text()
    # 36 images more in 2.4 s: 15 a second, so 4.3 of 12.6 s for 64 of them.
    assert "| ours | LiteRT | 100 | 7.5 (5.0-10.0, n=2) | 15.0 (10.0-20.0, n=2) | 8.3 | 15.0 | 500 |" in text
    assert "**plain processes** in images a second: 20, ours 8. It starts in 0.6 s and then makes 22 images/s" in text
    assert "in memory of all" not in text.partition("## Who")[2]
    assert "- Daft: exit code 1, no luck" in text
    assert "$" not in text
    assert (tmp_path / "figures" / "peers.png").exists()
