"""Runs of the sample one after another, by the command and by hand: what they make, and that nothing is lost."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]


def look(folder: Path) -> dict[str, bytes | Path]:
    """Give all a folder holds, but for locks, by name: bytes of files, aims of links."""
    found = [entry for entry in folder.rglob("*") if entry.name != ".in-use" and not entry.is_dir()]
    return {str(entry): entry.readlink() if entry.is_symlink() else entry.read_bytes() for entry in found}


def run(*words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def run_sample(place: Path, *words: str, code: int = 0, **more: object) -> subprocess.CompletedProcess[str]:
    values = {"input_dir": place / "images", "output_dir": place / "out", "report_dir": place / "reports"} | more
    settings = [f"--set={key}={value}" for key, value in values.items()]
    return run(BIN / "fruits", "run", "MINI", *words, *settings, cwd=place, code=code)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "it's {mode} [v1] 100% $HOME"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> subprocess.CompletedProcess[str]:
    return run_sample(place, pca_components=20)


@pytest.fixture
def report(place: Path, done: subprocess.CompletedProcess[str]) -> Path:
    return place / "reports/sample/MINI"


def test_a_run_makes_results_and_report(place: Path, done: subprocess.CompletedProcess[str], report: Path) -> None:
    assert f"Report:  {report / 'run.html'}" in done.stdout
    assert "100/100" in done.stdout
    names = {"atlas.html", "manifest.json", "run.html", "run.ipynb", "run.json", "spark", "variance.png"}
    assert {entry.name for entry in report.iterdir()} == names
    manifest = json.loads((report / "manifest.json").read_text())
    assert manifest["counts"] == {"listed": 100, "features": 100, "errors": 0, "reused": 0, "computed": 100}
    assert manifest["pca"]["kept"] == 20
    assert Path(manifest["model_flatbuffer"]).stat().st_size == pytest.approx(8.85e6, rel=0.01)
    html = (report / "run.html").read_text()
    assert "says nothing about fruit" in html
    assert "import" not in re.sub(r"@import|important", "", html)
    scores = pd.read_csv(place / "out/MINI/pca/csv/pca.csv").filter(like="pc_")
    assert scores.shape == (100, 20)
    np.testing.assert_allclose(scores.mean(), 0, atol=1e-6)


def test_what_is_refused_or_fails_leaves_results_and_report_as_they_were(place: Path, report: Path) -> None:
    results, before = place / "out/MINI", look(place)
    (results / "thesis.txt").touch()
    assert "'thesis.txt'" in run_sample(place, "--replace", code=2).stderr
    (results / "thesis.txt").unlink()
    said = run_sample(place, split="Test", code=2).stderr
    assert f"{results} holds results of split = Training; this run is of" in said
    assert look(place) == before

    assert "PCA needs at least 2 images, got 1" in run_sample(place, "--replace", max_images=1, code=1).stderr
    after = look(place)
    failed = after.pop(f"{report}/run.failed.ipynb")
    assert isinstance(failed, bytes)
    assert nbformat.reads(failed.decode(), as_version=4).cells
    assert after == before
    assert [folder.name for folder in report.parent.iterdir()] == ["MINI"]


def test_a_run_by_hand_leaves_the_report_and_the_next_report_keeps_it(place: Path, report: Path) -> None:
    before, elsewhere = look(report), place / "elsewhere"
    elsewhere.mkdir()
    names = {"input_dir": "images", "output_dir": "out", "report_dir": "reports"}
    (elsewhere / "places.yaml").write_text("\n".join(f"{key}: {place / name}" for key, name in names.items()))
    files = [REPOSITORY / "params/MINI.yaml", REPOSITORY / "params/sample.yaml", "places.yaml"]
    options = [word for file in files for word in ("-f", file)]
    run(BIN / "papermill", REPOSITORY / "notebooks/pipeline.ipynb", "OUT.ipynb", *options, cwd=elsewhere)
    by_hand = look(report / "by-hand")
    manifest = json.loads((report / "by-hand/manifest.json").read_text())
    log = f"{manifest['spark']['application']}.zstd"
    assert {Path(name).name for name in by_hand} == {"manifest.json", "variance.png", log}
    assert look(report) == before | by_hand
    counts = manifest["counts"]
    assert (counts["listed"], counts["reused"]) == (100, 100)
    assert len(pd.read_csv(place / "out/MINI/metadata/metadata.csv")) == 100

    # By hand 99 components were saved; this asks for 30, and the results of a version that knew less are taken over.
    marker = json.loads((place / "out/MINI/run.json").read_text())
    assert marker["pca_components"] == 200
    old = {key: value for key, value in marker.items() if key not in ("kind", "split", "classes", "finished")}
    (place / "out/MINI/run.json").write_text(json.dumps(old))
    (report / "run.json").unlink()
    said = run_sample(place, pca_components=30, evaluate=False).stdout
    assert "out/MINI: replaces the results with pca_components = 200; this run is of pca_components = 30." in said
    assert "out/MINI: takes over the results of an earlier version, which does not say its classes, split." in said
    assert "reports/sample/MINI: takes over the report of an earlier version" in said
    assert look(report / "by-hand") == by_hand
    listed = json.loads((report / "run.json").read_text())["files"]
    assert {entry.name for entry in report.iterdir()} == {*map(head, listed), "run.json", "by-hand"}
    assert set(map(head, listed)) == {"manifest.json", "run.html", "run.ipynb", "spark", "variance.png"}


def head(name: str) -> str:
    return name.split("/")[0]
