"""Whole runs whose output is lost, on a terminal that is interrupted, and on one that goes away."""

import fcntl
import io
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from faults import FRUITS, PATIENCE, Place, make_place, wait_for
from PIL import Image

from fruits.features.batches import list_batches, list_unfinished

pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]
IMAGES = 1500


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Place]:
    folder, noise = tmp_path_factory.mktemp("terminal"), np.random.default_rng(0)
    shutil.copytree(models, folder / "models")
    for number in range(IMAGES):
        file = folder / f"images/Training/Apple {number % 3}/{number:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.fromarray(noise.integers(0, 255, (20, 20, 3), np.uint8)).save(stream, "JPEG")
        file.write_bytes(stream.getvalue())
    settings = {"input_dir": folder / "images", "weights": "random", "pca_components": 20, "evaluate": False}
    yield from make_place(folder, models=folder / "models", **settings)


class Terminal:
    """A run on a terminal of 80 columns: what it shows, and when its first line was there."""

    def __init__(self, place: Place) -> None:
        self.place, self.shown, self.first = place, "", 0.0
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        settings = {"output_dir": place.output, "report_dir": place.folder / "reports", **place.settings}
        command = [str(FRUITS), "run", "APPLES", "--target=local", *(f"--set={k}={v}" for k, v in settings.items())]
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"FRUITS_TEST_MARK": place.mark, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.started = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.master, 65536):
                self.first = self.first or time.monotonic() - self.started
                self.shown += piece.decode(errors="replace")
        except OSError:  # the other end is closed
            return

    def wait_for(self, pattern: str) -> None:
        wait_for(lambda: bool(re.search(pattern, self.shown)), what=pattern, unless=self.process)


def test_a_run_completes_whatever_becomes_of_its_output(place: Place) -> None:
    odd = {"PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "TERM": "dumb"}
    odd |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folders = [f"--set={key}={place.folder}/head/{key}" for key in ("output_dir", "report_dir")]
    shutil.copytree(place.folder / "models", place.folder / "head/output_dir/models")
    command = [FRUITS, "run", "MINI", "--target=local", *folders]
    command += [f"--set={key}={value}" for key, value in place.settings.items()]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", '"$0" "$@" <&- | head -c1', *map(str, command)],
        env=os.environ | odd,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"f", b"")
    assert (place.folder / "head/report_dir/local/MINI/run.html").exists()


def test_ctrl_c_at_a_terminal_loses_nothing_that_is_computed(place: Place) -> None:
    run = Terminal(place)
    run.wait_for(r" [2-6]\d%\|")
    os.write(run.master, b"\x03")
    assert run.process.wait(PATIENCE) == 130, run.shown
    place.wait_until_alone()

    assert run.first < 3, "nothing is shown at first"
    lines = [line for line in re.split("[\r\n]+", run.shown) if line]
    assert max(map(len, lines)) < 80 + len(str(place.folder))
    assert [line.split("s  ")[1] for line in lines if re.search(r"\ds  [2345]\.", line.replace(" s", "s"))] == [
        "2. Spark",
        "3. The images",
        "4. The model and its broadcast",
        "5. The features",
    ]
    assert "Traceback" not in run.shown
    computed = max(int(count) for count in re.findall(rf"\| (\d+)/{IMAGES} ", run.shown))
    files = [file for batch in list_batches(place.store) for file in batch.glob("*.parquet")]
    stored = sum(pq.read_metadata(file).num_rows for file in files)
    assert 0 < computed <= stored < IMAGES
    assert list_unfinished(place.store) == []
    assert "fruits: interrupted" in lines
    kept = f"fruits: features of {stored:,} images are kept; the same command goes on from there"
    assert lines[-1].endswith(kept)


def test_a_terminal_that_goes_away_ends_the_run_cleanly(place: Place) -> None:
    run = Terminal(place)
    run.wait_for(r"3\. The images")
    os.close(run.master)
    assert run.process.wait(PATIENCE) == 128 + signal.SIGHUP
    place.wait_until_alone()
    assert list(Path(place.folder / "reports/local").iterdir()) == [], "a draft is left"
