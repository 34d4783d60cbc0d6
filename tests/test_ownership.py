"""Whose a folder is, and what in it no run put there."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fruits import ownership
from fruits.errors import FruitsError, UsageError
from fruits.ownership import REPORT, RESULTS
from fruits.params import load_params

OWNER = {
    "target": "local",
    "input_dir": "/somewhere",
    "split": "Training",
    "classes": ("Apple*",),
    "max_images": 100,
    "seed": 42,
    "model_id": "mobilenet-1",
    "pca_components": 50,
    "variance_target": 0.95,
    "max_error_share": 0.05,
}
TABLES = ["pca/parquet/part-00000-a b.snappy.parquet", "pca/parquet/_SUCCESS", "metadata/metadata.csv"]
MODEL = ["model_info/pca_model/data/part-00000-1.parquet", "model_info/mean.npy"]


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    fill(tmp_path / "MINI", TABLES + MODEL)
    ownership.write_marker(tmp_path / "MINI", owner=OWNER)
    return tmp_path / "MINI"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    fill(tmp_path / "local/MINI", ["run.html", "atlas.html", "run.ipynb", "variance.png", "manifest.json"])
    ownership.write_marker(tmp_path / "local/MINI", owner=OWNER, kind=REPORT)
    return tmp_path / "local/MINI"


def check(folder: Path, kind: ownership.Kind = RESULTS, *, replace: bool = False, **changes: Any) -> list[str]:
    owner = {key: value for key, value in (OWNER | changes).items() if value is not None}
    return [*ownership.list_edited(folder, kind), *ownership.check_owner(folder, kind, owner=owner, replace=replace)]


@pytest.mark.parametrize(
    ("key", "there", "here"),
    [
        ("target", "local", "emr"),
        ("input_dir", "/somewhere", "/elsewhere"),
        ("split", "Training", "Test"),
        ("classes", r"\['Apple\*'\]", ("Lemon*",)),
        ("max_images", 100, 0),
        ("seed", 42, 1),
        ("model_id", "mobilenet-1", "mobilenet-2"),
    ],
)
def test_results_that_are_others_are_not_replaced(saved: Path, key: str, there: object, here: object) -> None:
    change: dict[str, Any] = {key: here}
    with pytest.raises(UsageError, match=rf"holds results of {key} = {there}; this run is of {key} = .*--replace"):
        check(saved, **change)
    if key == "seed":
        with pytest.raises(UsageError, match=r"split = Training, seed = 42; this run is of split = Test, seed = 1\."):
            check(saved, seed=1, split="Test", pca_components=7)
    (note,) = check(saved, replace=True, **change)
    assert f"{saved}: replaces the results of 20" in note


def test_own_results_and_no_results_may_be_written(saved: Path, tmp_path: Path) -> None:
    assert check(saved) == []
    assert check(saved, model_id=None) == []
    assert check(tmp_path / "none") == []
    (tmp_path / "empty").mkdir()
    assert check(tmp_path / "empty") == []


def test_what_may_change_is_said(saved: Path) -> None:
    (note,) = check(saved, pca_components=200, variance_target=0.9)
    assert note.endswith(
        "with pca_components = 50, variance_target = 0.95; this run is of pca_components = 200, variance_target = 0.9."
    )


def test_secrets_are_compared_as_they_are_kept(saved: Path) -> None:
    secret = "s3://name:password@bucket/in"  # noqa: S105 - of nobody
    ownership.write_marker(saved, owner=OWNER | {"input_dir": secret})
    assert "password" not in (saved / "run.json").read_text()
    assert check(saved, input_dir=secret) == []


def put_link(folder: Path) -> None:
    (folder / "album").symlink_to(folder.parent)


STRANGE: dict[str, Callable[[Path], Any]] = {
    "thesis.txt": lambda folder: fill(folder, ["thesis.txt"]),
    "metadata/deep/x.csv": lambda folder: fill(folder, ["metadata/deep/x.csv"]),
    ".hidden": lambda folder: fill(folder, [".hidden"]),
    ".thesis.txt.crc": lambda folder: fill(folder, [".thesis.txt.crc"]),
    "pca/parquet/part-00001.parquet": lambda folder: fill(folder, ["pca/parquet/part-00001.parquet"]),
    "empty/": lambda folder: (folder / "empty").mkdir(),
    "album": put_link,
    "by-hand.txt": lambda folder: fill(folder, ["by-hand.txt"]),
    "run.html/x": lambda folder: fill(folder, ["run.html/x"]),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("replace", [False, True])
def test_a_file_that_no_run_put_there_is_named_and_stays(saved: Path, name: str, replace: bool) -> None:
    STRANGE[name](saved)
    with pytest.raises(UsageError, match=rf"{saved} .*holds 1 files .*: '{name}'\. Move") as caught:
        check(saved, replace=replace, seed=7)
    assert "--replace" not in str(caught.value)
    with pytest.raises(FruitsError, match="while the run was at work: that folder stays") as late:
        ownership.check_again(saved, RESULTS, owner=OWNER, replace=replace)
    assert late.value.exit_code == 1


@pytest.mark.parametrize("name", ["thesis.txt", "empty/", "album", "pca/x", "errors.csv"])
def test_a_strange_file_among_a_report_is_named(report: Path, name: str) -> None:
    if name in STRANGE:
        STRANGE[name](report)
    else:
        fill(report, [name])
    with pytest.raises(UsageError, match=f"no run put there: '{name}'"):
        check(report, REPORT, replace=True)


def test_many_strange_files_are_counted(saved: Path) -> None:
    fill(saved, [f"photos/{number}.jpg" for number in range(9)])
    with pytest.raises(UsageError, match=r"holds 9 files or folders .*'photos/0.jpg', .*'photos/4.jpg', \.\.\.\. Move"):
        check(saved)


def test_litter_of_the_system_is_nobodys(saved: Path, report: Path) -> None:
    for folder in (saved, report):
        fill(folder, [".DS_Store", "Thumbs.db", "desktop.ini", "._run.html", "@eaDir/variance.png/SYNO_THUMB.jpg"])
        fill(folder, [".manifest.json.fruits-0123456789abcdef"])
    fill(saved, ["pca/parquet/._SUCCESS.crc", "pca/parquet/.part-00000-a b.snappy.parquet.crc", "metadata/.DS_Store"])
    fill(saved, ["pca_$folder$", "pca/parquet_$folder$"])
    assert check(saved) == []
    ownership.check_whole(saved)
    assert check(report, REPORT) == []
    fill(saved.parent / "new", [".DS_Store"])
    assert check(saved.parent / "new") == []


@pytest.mark.parametrize(
    "content", ["no JSON", "[]", "{}", '{"target": "local"}', '{"kind": "report", "target": "x", "input_dir": "y"}']
)
def test_a_marker_that_is_not_ours_is_a_strange_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"'run\.json'"):
        check(tmp_path, replace=True)


@pytest.mark.parametrize("files", [True, False])
def test_results_of_an_earlier_version_are_taken_over(saved: Path, files: bool) -> None:
    there = json.loads((saved / "run.json").read_text())
    old = {key: there[key] for key in ("target", "input_dir", "model_id", *(["files"] if files else []))}
    (saved / "run.json").write_text(json.dumps(old))
    (note,) = check(saved)
    assert "takes over the results of an earlier version, which does not say its split, classes, max_images" in note
    with pytest.raises(UsageError, match=r"input_dir = /somewhere; .*--replace"):
        check(saved, input_dir="/x")
    fill(saved, ["pca/parquet/mine.parquet"])
    with pytest.raises(UsageError, match=r"'pca/parquet/mine\.parquet'"):
        check(saved, replace=True)


def test_what_is_no_results_of_a_run_is_not_replaced(saved: Path, report: Path) -> None:
    for folder, kind in ((saved, REPORT), (report, RESULTS)):
        with pytest.raises(UsageError, match="no run put there"):
            check(folder, kind, replace=True)
    (saved / "run.json").unlink()
    with pytest.raises(UsageError, match="holds 5 files"):
        check(saved, replace=True)


def test_a_report_of_an_earlier_version_is_taken_over(report: Path) -> None:
    (report / "run.json").unlink()
    fill(report, ["errors.csv", "run.failed.ipynb"])
    (note,) = check(report, REPORT)
    assert note == f"{report}: takes over the report of an earlier version, which has no run.json."
    for name in ("run.html", "run.ipynb", "variance.png", "manifest.json"):
        (report / name).unlink()
    assert check(report, REPORT) == []  # what a first run leaves that failed


def test_a_report_of_something_else_is_replaced_with_a_sentence(report: Path) -> None:
    fill(report, ["errors.csv", "run.failed.ipynb", "errors.failed.csv"])  # of a run that failed since
    assert check(report, REPORT, pca_components=7) == []
    (note,) = check(report, REPORT, split="Test")
    assert "replaces the report of 20" in note
    assert "with split = Training; this run is of split = Test." in note


def test_folders_that_are_kept_move_on(report: Path, tmp_path: Path) -> None:
    fill(report, ["by-hand/manifest.json", "by-hand/deep/notes.txt", "by-hand/.x.fruits-0123456789abcdef"])
    (report / "by-hand/link").symlink_to("nowhere")
    (report / "by-hand/empty").mkdir()
    os.mkfifo(report / "by-hand/pipe")  # which stays behind
    assert check(report, REPORT) == []
    draft = tmp_path / "draft"
    draft.mkdir()

    ownership.keep_folders(report, draft, REPORT)
    ownership.write_marker(draft, owner=OWNER, kind=REPORT)

    names = sorted(entry.relative_to(draft / "by-hand").as_posix() for entry in (draft / "by-hand").rglob("*"))
    assert names == ["deep", "deep/notes.txt", "empty", "link", "manifest.json"]
    assert json.loads((draft / "run.json").read_text())["files"] == {}
    assert check(draft, REPORT) == []


def test_a_folder_exchanged_meanwhile_is_no_strange_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run of the same mode puts its results in place between the marker's reading and the listing."""
    list_foreign = ownership.list_foreign

    def exchange(folder: Path, **options: Any) -> list[str]:
        monkeypatch.setattr(ownership, "list_foreign", list_foreign)
        shutil.rmtree(saved)
        fill(saved, ["pca/parquet/part-99.parquet"])
        ownership.write_marker(saved, owner=OWNER)
        return list_foreign(folder, **options)

    monkeypatch.setattr(ownership, "list_foreign", exchange)
    assert check(saved) == []


def test_an_owner_is_what_tells_results_apart(tmp_path: Path) -> None:
    params = dataclasses.replace(load_params("MINI", "local"), input_dir=str(tmp_path))
    described = ownership.describe_owner(params, model_id="m")
    assert described.keys() - ownership.TOLD == OWNER.keys()
    assert {"weights", "engine"} <= described.keys()
    assert ownership.describe_owner(params)["input_dir"] == str(tmp_path)
    assert OWNER.keys() > ownership.SAME


def test_files_that_somebody_changed_are_named(report: Path) -> None:
    (report / "run.html").write_text("notes of mine")
    (note,) = check(report, REPORT)
    assert note.endswith("replaces run.html, which somebody has changed since the run that made it.")
