"""Which parameters a run takes for a mode, for a folder, and for both; and which an evaluation takes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import put

from fruits.errors import FruitsError, UsageError
from fruits.ownership import write_marker
from fruits.params import RunParams, load_params
from fruits_cli.choice import choose_params, read_stored_params
from fruits_cli.pack import pack_images


def choose(mode: str | None = None, target: str | None = None, **options: Any) -> Any:
    return choose_params(mode, target, **{"images": None, "name": None, "settings": {}, **options})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return put(tmp_path / "My photos", "1.jpg", "Citrus/2.jpg")


def test_a_mode_alone_is_as_it_is_in_its_file() -> None:
    assert choose("MINI") == (load_params("MINI", "sample"), [])
    named, _ = choose("MINI", "local", name="few", settings={"seed": "7"})
    assert named == load_params("MINI", "local", {"name": "few", "seed": "7"})
    with pytest.raises(UsageError, match="unknown mode 'MINY'"):
        choose("MINY")


def test_a_folder_alone_is_taken_whole(folder: Path) -> None:
    params, notes = choose(images="My photos")
    assert (params.input_dir, params.title, params.target, params.weights) == (
        str(folder),
        "My photos",
        "local",
        "imagenet",
    )
    assert (params.classes, params.max_images, params.split, notes) == (("*",), 0, "all", [])
    assert params.max_error_share == 1
    params, _ = choose(images=str(folder), name="mine", settings={"split": "Test", "weights": "random"})
    assert (params.title, params.split, params.weights) == ("mine", "Test", "random")


@pytest.mark.parametrize("kind", ["folders", "packed", "labels"])
def test_a_mode_takes_its_split_of_a_folder_or_says_that_it_takes_all(folder: Path, tmp_path: Path, kind: str) -> None:
    place = folder
    for split, file in (("all", "3.jpg"), ("Training", "Training/Kiwi/4.jpg")):
        put(folder, file)
        if kind == "packed":
            pack_images(folder, place := tmp_path / f"packed {split}")
        if kind == "labels":
            put(folder, "labels.csv", content=f"path,label,split\n{file},A,{split}".encode())
        params, notes = choose("MINI", images=str(place))
        assert (params.split, params.max_images, params.classes) == (split, 100, ("Apple*",))
        said = [f"{place} has no Training with classes: every image below it is taken (split = all)"]
        assert notes == (said if split == "all" else [])
    (params, notes) = choose("MINI", images=str(place), settings={"split": "Test"})
    assert (params.split, notes) == ("Test", [])


@pytest.mark.parametrize("name", ["features", "mini", "", ".hidden", "a/b"])
def test_a_name_that_results_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"results cannot be called .*; name them by --name: empty \(the mode\), or a"):
        choose(images="My photos", name=name)


def test_the_sample_takes_no_folder() -> None:
    with pytest.raises(UsageError, match="allowed: local, emr"):
        choose(images="My photos", target="sample")


@pytest.fixture
def finished(tmp_path: Path) -> RunParams:
    """Leave what a finished run leaves: its results with their marker, and a report with its parameters."""
    places = {"report_dir": str(tmp_path / "reports"), "output_dir": str(tmp_path / "out"), "input_dir": "/images"}
    params = load_params("MINI", "local", {**places, "name": "mine", "fresh": "true", "evaluate": "false", "seed": "7"})
    put(params.results_dir, "pca/csv/pca.csv")
    write_marker(params.results_dir, owner={})
    told = {"params": dataclasses.asdict(params) | {"of another version": 1}}
    put(params.report_folder, "manifest.json", content=json.dumps(told).encode())
    return params


def read_stored(params: RunParams, against: str = "", **settings: str) -> RunParams:
    chosen = {"report_dir": params.report_dir, **settings}
    return read_stored_params(params.title, target="local", against=against, settings=chosen)


def test_an_evaluation_takes_the_parameters_of_the_run(finished: RunParams) -> None:
    assert read_stored(finished) == dataclasses.replace(finished, evaluate=True, fresh=False)
    found = read_stored(finished, against="Validation", group="", csv="excel-fr")
    assert (found.against, found.group, found.csv, found.seed) == ("Validation", "", "excel-fr", 7)
    assert read_stored(finished, against="").against == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there is no report of a finished run in .*/reports/local/mine; run it first"),
        ("[]", "there is no report of a finished run"),
        ('{"params": 3}', "there is no report of a finished run"),
        ('{"params": {"mode": "MINI"}}', "manifest.json: classes: missing; allowed: "),
        ('{"params": {"mode": "MINI", "seed": "x"}}', "manifest.json: seed = 'x': allowed: an integer"),
    ],
)
def test_a_broken_report_cannot_be_evaluated(finished: RunParams, content: str, said: str) -> None:
    (finished.report_folder / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        read_stored(finished)


def test_results_that_were_changed_cannot_be_evaluated(finished: RunParams) -> None:
    put(finished.results_dir, "pca/csv/pca.csv", content=b"other")
    with pytest.raises(FruitsError, match=r"pca/csv/pca\.csv was changed; run again"):
        read_stored(finished)
