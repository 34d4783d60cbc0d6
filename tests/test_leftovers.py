"""What `fruits clean` takes, and what it must never take."""

import subprocess
import sys
from pathlib import Path

import pytest

from fruits import storage
from fruits.errors import FruitsError
from fruits.leftovers import find_leftovers, measure, remove_leftovers
from fruits.params import RunParams, load_params


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    folders = {"output_dir": str(tmp_path / "out"), "report_dir": str(tmp_path / "reports")}
    return load_params("MINI", "local", folders)


HOLD = "import sys, pathlib, fruits.locks as s; s.hold_folder(pathlib.Path(sys.argv[1])); print(); sys.stdin.read()"
KEPT = [
    "out/features/m/batch-1/_SUCCESS",
    "out/features/m/batch-1/part.parquet",
    "out/models/abc/model.tflite",
    "out/MINI/run.json",
    "out/.hidden",
    "out/notes.draft",
    "reports/local/MINI/run.html",
    "reports/README.md",
]
LEFT = [
    "out/.MINI.0123abcd.draft/pca/x",
    "out/.MINI.0123abcd.old/x",
    "out/.probe.89abcdef",
    "out/features/m/batch-2/_temporary/0/part.parquet",
    "out/models/.abc.0123abcd.draft/model.tflite",
    "reports/local/.APPLES.0123abcd.draft/run.ipynb",
    "reports/local/MINI/.manifest.json.0123abcd",
]


def test_leftovers_go_and_the_rest_stays(params: RunParams, tmp_path: Path) -> None:
    for name in KEPT + LEFT:
        storage.write_bytes(tmp_path / name, b"12345")

    found = [entry.relative_to(tmp_path).as_posix() for entry in find_leftovers(params)]
    assert found == sorted(
        {name.split("/pca")[0].split("/x")[0].split("/_temp")[0] for name in LEFT}
        - {"out/models/.abc.0123abcd.draft/model.tflite", "reports/local/.APPLES.0123abcd.draft/run.ipynb"}
        | {"out/models/.abc.0123abcd.draft", "reports/local/.APPLES.0123abcd.draft"}
    )
    assert measure(find_leftovers(params)) == 5 * len(LEFT)
    remove_leftovers(params)

    there = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert there == {*KEPT, "out/.in-use", "reports/.in-use"}
    assert find_leftovers(params) == []


def test_nothing_is_left_where_nothing_is(params: RunParams, tmp_path: Path) -> None:
    assert find_leftovers(params) == remove_leftovers(params) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone_until_its_process_ends(params: RunParams, tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / LEFT[0], b"x")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(FruitsError, match="a run is at work in"):
            remove_leftovers(params)
        process.kill()
    assert len(remove_leftovers(params)) == 1
