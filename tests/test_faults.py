"""Runs of the command that are killed, stopped, starved of disk or doubled: nothing is lost, nothing is left."""

import io
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import WEIGHTS
from faults import FRUITS, Place, make_place, wait_for
from PIL import Image

from fruits.features.batches import list_batches, list_unfinished
from fruits.features.model import load_model
from fruits.ownership import check_whole
from fruits.results import read_scores

pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]
# Some 30 batches, of which each run that is ended leaves a few.
IMAGES, TASK = 1500, 50


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 1,500 images of three kinds of apples: some ten seconds of extraction."""
    root, noise = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(IMAGES):
        folder = root / "Training" / f"Apple {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (20, 20, 3), np.uint8)).save(stream, "JPEG")
        (folder / f"{number:04d}.jpg").write_bytes(stream.getvalue())
    return root


def make_settings(images: Path) -> dict[str, object]:
    return {"input_dir": images, "weights": "random", "images_per_task": TASK, "pca_components": 20}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path, images: Path) -> Iterator[Place]:
    yield from make_place(tmp_path_factory.mktemp("place"), models=models, **make_settings(images))


def check_complete(place: Place, *, images: int = IMAGES, mode: str = "APPLES") -> None:
    """Check that a mode's results are whole, with each image once."""
    check_whole(place.output / mode)
    paths = read_scores(place.output / mode)["path"].to_pylist()
    assert len(paths) == len(set(paths)) == images


def count_stored(place: Place) -> int:
    files = [file for batch in list_batches(place.store) for file in batch.glob("*.parquet")]
    return sum(len(pd.read_parquet(file, columns=["path"])) for file in files)


ENDS = {"SIGINT": 130, "SIGTERM": 143, "command": -signal.SIGKILL, "kernel": 1, "JVM": 1}


def test_runs_that_are_ended_leave_nothing_running_and_the_next_goes_on(place: Place) -> None:
    for end, code in ENDS.items():
        stored, known = count_stored(place), {*list_batches(place.store), *list_unfinished(place.store)}
        run = place.start()
        run.wait_for_batches(len(list_batches(place.store)) + 1)
        if end.startswith("SIG"):
            run.process.send_signal(signal.Signals[end])  # to the command alone: it must pass it on
        else:
            run.kill(end)
        _, complained = run.end(code=code)

        place.wait_until_alone(3 if end.startswith("SIG") else 15)
        assert count_stored(place) > stored, end
        assert len({*list_unfinished(place.store)} - known) <= 3  # a batch a core, and the next in line
        assert not place.output.joinpath("APPLES").exists()
        if code == 1:
            assert "run again to continue" in complained
            assert (place.report / "run.failed.ipynb").exists()
        if end.startswith("SIG"):  # what a killed command leaves, `fruits clean` removes
            assert list(place.report.parent.iterdir()) == []

    stored = count_stored(place)
    place.start().end(code=0)
    assert place.manifest["counts"]["reused"] == stored
    check_complete(place)


def test_a_kill_while_saving_leaves_the_last_results_whole(place: Place) -> None:
    if not place.output.joinpath("APPLES").exists():
        place.start().end(code=0)
    before = place.output.joinpath("APPLES/run.json").read_bytes()
    run = place.start(pca_components=19)
    wait_for(lambda: bool(list(place.output.glob(".APPLES.*.draft"))), what="the draft", unless=run.process)
    run.kill("kernel")
    run.end(code=1)

    check_complete(place)
    assert place.output.joinpath("APPLES/run.json").read_bytes() == before
    leftovers = subprocess.run(clean(place), capture_output=True, text=True, check=True).stdout
    assert ".draft" in leftovers
    assert "add --yes to delete them" in leftovers
    subprocess.run([*clean(place), "--yes"], check=True, capture_output=True)
    assert not list(place.output.glob(".APPLES.*"))
    check_complete(place)


def clean(place: Place) -> list[str]:
    folders = {"output_dir": place.output, "report_dir": place.folder / "reports"}
    return [str(FRUITS), "clean", "--target", "local", *(f"--set={key}={value}" for key, value in folders.items())]


@pytest.fixture
def new_place(tmp_path: Path, models: Path, images: Path) -> Iterator[Place]:
    yield from make_place(tmp_path, models=models, **make_settings(images))


def test_runs_at_once_are_all_right(new_place: Place) -> None:
    place = new_place
    runs = [place.start(), place.start(), place.start(mode="MINI")]
    runs[0].wait_for_batches(1)
    refused = subprocess.run([*clean(place), "--yes"], capture_output=True, text=True, check=False)

    for run in runs:
        run.end(code=0)

    assert refused.returncode == 1
    assert "a run is at work" in refused.stderr
    check_complete(place)
    check_complete(place, images=100, mode="MINI")
    assert list_unfinished(place.store) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "out"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=25m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_said_in_a_sentence_and_loses_nothing(
    small_disk: Path, tmp_path: Path, models: Path, images: Path
) -> None:
    shutil.copytree(models, small_disk / "models")
    place = Place(tmp_path, make_settings(images))
    _, complained = place.start().end(code=1)

    assert "is full: free some space, or name another folder" in complained
    stored = count_stored(place)
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    place.start().end(code=0)
    assert place.manifest["counts"]["reused"] == stored > 0
    check_complete(place)


@pytest.mark.parametrize("folder", ["output_dir", "report_dir"])
def test_a_folder_that_cannot_be_written_is_refused(new_place: Place, folder: str) -> None:
    closed = new_place.folder / "closed"
    closed.mkdir(mode=0o555)
    drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("setpriv is not there to drop root's rights")

    where: dict[str, Any] = {folder: closed / "new"}
    run = new_place.start(prefix=drop if os.getuid() == 0 else (), **where)

    _, complained = run.end(code=1)
    assert f"{closed}/new cannot be written (Permission denied)" in complained
    assert complained.count("\n") == 1


@pytest.mark.faults
def test_ten_kills_in_a_row_lose_nothing(
    tmp_path: Path, models: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill command, kernel or JVM at random moments of the extraction of all 6,404 apples, ten times."""
    weights = shared / WEIGHTS
    load_model(str(weights), folder=models)
    chance = random.Random(int(os.environ.get("FRUITS_TEST_SEED", "1")))  # noqa: S311 - not for secrets
    said: list[str] = []
    for place in make_place(tmp_path, models=models, input_dir=shared / "fruits-360", weights=weights):
        for number in range(10):
            before = count_stored(place)
            victim, delay = chance.choice(["command", "kernel", "JVM"]), chance.uniform(0, 5)
            kill_in_extraction(place, victim, delay)
            begun = len(list_unfinished(place.store))
            said.append(
                f"kill {number + 1}: {victim} after {delay:.1f} s; {before} -> {count_stored(place)} stored, {begun}"
            )
            shutil.rmtree(tmp_path / "seen", ignore_errors=True)
        stored = count_stored(place)
        place.start().end(code=0)
        counts = place.manifest["counts"]
        check_complete(place, images=6404)
        assert counts == {"listed": 6404, "features": 6404, "errors": 0, "reused": stored, "computed": 6404 - stored}
        assert count_stored(place) == 6404
    with capsys.disabled():
        print("\n".join(["", *said, str(counts)]))  # noqa: T201 - the figures of the closing note


def kill_in_extraction(place: Place, victim: str, delay: float) -> None:
    known = len(list_batches(place.store)) + len(list_unfinished(place.store))
    run = place.start()
    run.wait_for_batches(known + 1, finished=False)
    before = set(list_unfinished(place.store))
    try:
        run.process.wait(delay)
    except subprocess.TimeoutExpired:
        run.kill(victim)
    run.end()
    place.wait_until_alone()
    # A batch a core at most was under way, and the next in line.
    assert len(set(list_unfinished(place.store)) - before) <= 3
