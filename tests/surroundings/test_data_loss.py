"""Whole commands whose places lie in one another's way, or hold files of the user's own: nothing of theirs is lost."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]


def look(folder: Path) -> dict[str, object]:
    """Give all a folder holds, but for locks, by name: bytes of files, aims of links."""
    found = [entry for entry in folder.rglob("*") if entry.name != ".in-use" and not entry.is_dir()]
    return {str(entry): entry.readlink() if entry.is_symlink() else entry.read_bytes() for entry in found}


def fruits(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [BIN / "fruits", *words, *(f"--set={key}={value}" for key, value in settings.items())]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def refuse(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture
def images(fruit_folder: Path) -> Path:
    """Put the user's pictures where the results of MINI go."""
    (fruit_folder.parent / "data").mkdir()
    return Path(shutil.move(fruit_folder, fruit_folder.parent / "data/MINI"))


def test_images_in_the_place_of_the_results_stay(images: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(images)
    places = {"weights": "random", "output_dir": images.parent, "report_dir": tmp_path / "reports"}
    before = look(tmp_path)
    for input_dir in (images, tmp_path / "link"):
        done = fruits("run", "MINI", "--target", "local", "--replace", input_dir=input_dir, **places)
        refuse(done, f"{images}, is the input ({input_dir})")
        assert "--replace" not in done.stderr
    done = fruits("run", "MINI", "--target", "local", "--replace", input_dir=tmp_path, **places)
    refuse(done, "lies inside the input")
    refuse(fruits("fetch", "MINI", input_dir=images, output_dir=images.parent), "is the input")
    refuse(fruits("pack", images, images / "packed"), "lies inside")
    assert look(tmp_path) == before
    assert not (tmp_path / "reports").exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """Make a run of MINI, on the sample."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(models, folder / "out/models")
    done = run(folder, pca_components=20)
    assert done.returncode == 0, done.stderr
    return folder


def run(place: Path, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    settings = {"input_dir": place / "images", "output_dir": place / "out", "report_dir": place / "reports"}
    return fruits("run", "MINI", *words, **(settings | more))


def test_files_of_the_users_own_and_results_of_other_questions_stay(place: Path) -> None:
    results, report = place / "out/MINI", place / "reports/sample/MINI"
    own = {
        results / "thesis.txt": Path.touch,
        report / "notes": lambda link: link.symlink_to("/nowhere"),
        place / "images/Training/Kiwi/mine.jpg": Path.touch,
    }
    for file, make in own.items():
        make(file)
        before = look(place)
        refuse(run(place, "--replace"), f"'{file.name}" if file.parent in (results, report) else "mine")
        assert look(place) == before
        file.unlink()
    before = look(place)
    for key, there, here in (
        ("split", "Training", "Test"),
        ("classes", "['Apple*']", '["Lemon*"]'),
    ):
        refuse(run(place, **{key: here}), f"{results} holds results of {key} = {there}; this run is of", "--replace")
    refuse(run(place, output_dir=place / "R/sample", report_dir=place / "R"), "is the report")
    assert look(place) == before


def test_a_run_by_hand_leaves_the_report_and_the_next_report_keeps_it(place: Path) -> None:
    report = place / "reports/sample/MINI"
    (report / "run.failed.ipynb").write_text("of a run that failed since")
    before = look(report)
    names = {"input_dir": "images", "output_dir": "out", "report_dir": "reports"}
    words = [word for key, name in names.items() for word in ("-p", key, place / name)]
    command = [BIN / "papermill", REPOSITORY / "notebooks/pipeline.ipynb", place / "o.ipynb", "--no-progress-bar"]
    done = subprocess.run([str(word) for word in [*command, *words]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_hand = look(report / "by-hand")
    assert {Path(name).name for name in by_hand} == {"manifest.json", "variance.png"}
    assert look(report) == before | by_hand

    # By hand 99 components were saved; this asks for 30, and the results of a version that knew less are taken over.
    marker = json.loads((place / "out/MINI/run.json").read_text())
    assert marker["pca_components"] == 200
    old = {key: value for key, value in marker.items() if key not in ("kind", "split", "classes", "finished")}
    (place / "out/MINI/run.json").write_text(json.dumps(old))
    (report / "run.json").unlink()
    done = run(place, pca_components=30)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "out/MINI: replaces the results with pca_components = 200; this run is of pca_components = 30." in said
    assert "out/MINI: takes over the results of an earlier version, which does not say its classes, split." in said
    assert "reports/sample/MINI: takes over the report of an earlier version" in said
    assert look(report / "by-hand") == by_hand
    listed = json.loads((report / "run.json").read_text())["files"]
    assert {entry.name for entry in report.iterdir()} == {*listed, "run.json", "by-hand"}
    assert listed.keys() == {"manifest.json", "run.html", "run.ipynb", "variance.png"}
