"""What `fruits clean` takes, and what it must never take."""

import subprocess
import sys
from pathlib import Path

import pytest

from fruits import folders
from fruits.errors import FruitsError
from fruits.params import RunParams, load_params
from fruits_cli.leftovers import find_leftovers, measure, remove_leftovers


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    settings = {"output_dir": str(tmp_path / "out"), "report_dir": str(tmp_path / "reports")}
    return load_params("MINI", "local", settings)


HOLD = (
    "import sys, pathlib, fruits.local as s; s.LocalFolder(pathlib.Path(sys.argv[1])).hold(); print(); sys.stdin.read()"
)
KEPT = [
    "out/features/m/batch-1/_SUCCESS",
    "out/features/m/batch-1/part.parquet",
    "out/models/abc/model.tflite",
    "out/MINI/run.json",
    "out/.hidden",
    "out/notes.draft",
    "reports/local/MINI/run.html",
    "reports/local/MINI/by-hand/manifest.json",
    "reports/README.md",
    # Of other people: their marks, their folders.
    "out/.cache.20240101",
    "out/.MINI.0123abcd.draft/x",
    "reports/.backup.20251231/thesis.tex",
    "reports/local/.backup.20251231",
    "reports/project/.MINI.fruits-0123456789abcdef.draft/x",
    "reports/local/ELSE/.manifest.json.fruits-0123456789abcdef",
    "reports/local/MINI/deeper/.manifest.json.fruits-0123456789abcdef",
]
LEFT = [
    "out/.MINI.fruits-0123456789abcdef.draft/pca/x",
    "out/.MINI.fruits-0123456789abcdef.old/x",
    "out/.probe.fruits-0123456789abcdef",
    "out/features/m/batch-2/_temporary/0/part.parquet",
    "out/models/.abc.fruits-0123456789abcdef.draft/model.tflite",
    "reports/local/.APPLES.fruits-0123456789abcdef.draft/run.ipynb",
    "reports/local/MINI/.manifest.json.fruits-0123456789abcdef",
    "reports/local/MINI/by-hand/.manifest.json.fruits-0123456789abcdef",
]


def test_leftovers_go_and_the_rest_stays(params: RunParams, tmp_path: Path) -> None:
    assert find_leftovers(params) == remove_leftovers(params) == []
    assert list(tmp_path.iterdir()) == []
    for name in KEPT + LEFT:
        folders.write_bytes(tmp_path / name, b"12345")

    found = [entry.relative_to(tmp_path).as_posix() for entry in find_leftovers(params)]
    assert found == sorted(
        {name.split("/pca")[0].split("/x")[0].split("/_temp")[0] for name in LEFT}
        - {
            "out/models/.abc.fruits-0123456789abcdef.draft/model.tflite",
            "reports/local/.APPLES.fruits-0123456789abcdef.draft/run.ipynb",
        }
        | {"out/models/.abc.fruits-0123456789abcdef.draft", "reports/local/.APPLES.fruits-0123456789abcdef.draft"}
    )
    assert measure(find_leftovers(params)) == 5 * len(LEFT)
    remove_leftovers(params)

    there = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert there == {*KEPT, "out/.in-use", "reports/.in-use"}
    assert find_leftovers(params) == []


def test_links_are_not_followed(params: RunParams, tmp_path: Path) -> None:
    left = ".x.fruits-0123456789abcdef"
    for place, name in {
        "out/features/m": f"a/batch-1/{left}",
        "out/features/n/batch-1": f"b/{left}",
        "out/models": f"c/{left}",
        "reports/emr": f"d/MINI/{left}",
        "reports/local/MINI": f"e/{left}",
        f"out/{left}.old": f"f/{left}",
    }.items():
        folders.write_bytes(tmp_path / "elsewhere" / name, b"x")
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(tmp_path / "elsewhere" / name.split("/")[0])
    there = sorted((tmp_path / "elsewhere").rglob("*"))

    assert remove_leftovers(params) == [tmp_path / f"out/{left}.old"]  # our own link, not what it leads to
    assert sorted((tmp_path / "elsewhere").rglob("*")) == there


@pytest.mark.parametrize("ended", [True, False])
def test_what_storage_leaves_when_it_is_killed_is_found(params: RunParams, tmp_path: Path, ended: bool) -> None:
    code = (
        "import os, sys, pathlib, fruits.folders as s\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "if sys.argv[2] == 'True': s.as_folder(place).check_writable(); s.write_bytes(place / 'file', b'')\n"
        "with s.as_folder(place / 'MINI').replaced() as draft:\n"
        "    if sys.argv[2] == 'False': os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out"), str(ended)], check=False)
    assert len(find_leftovers(params)) == (0 if ended else 1)


def test_a_folder_in_use_is_left_alone_until_its_process_ends(params: RunParams, tmp_path: Path) -> None:
    folders.write_bytes(tmp_path / LEFT[0], b"x")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(FruitsError, match="a run is at work in"):
            remove_leftovers(params)
        process.kill()
    (tmp_path / "link").symlink_to(tmp_path / "out")  # one folder by two names
    twice = {"output_dir": str(tmp_path / "out"), "report_dir": str(tmp_path / "link")}
    assert len(remove_leftovers(load_params("MINI", "local", twice))) == 1
