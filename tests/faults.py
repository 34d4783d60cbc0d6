"""Runs that are killed, stopped and starved on purpose: what the tests of faults share."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from fruits.features.batches import list_batches, list_unfinished

FRUITS = Path(sys.executable).with_name("fruits")
# Longer than anything here takes on two busy cores.
PATIENCE = 240


@dataclass
class Place:
    """Folders of runs, and the way to start them."""

    folder: Path
    settings: dict[str, object]
    mode: str = "APPLES"
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def report(self) -> Path:
        return self.folder / "reports/local" / self.mode

    @property
    def store(self) -> Path:
        stores = list((self.output / "features").glob("*"))
        return stores[0] if stores else self.output / "features/none"

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.report / "manifest.json").read_text()))

    def start(self, *arguments: str, prefix: tuple[str, ...] = (), mode: str = "", **more: object) -> "Run":
        places = {"output_dir": self.output, "report_dir": self.folder / "reports"}
        settings = {**places, "evaluate": False, **self.settings, **more}
        command = [*prefix, str(FRUITS), "run", mode or self.mode, "--target", "local", *arguments]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        environ = {**os.environ, "FRUITS_TEST_MARK": self.mark}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environ, text=True, stdout=pipe, stderr=pipe, start_new_session=True)
        return Run(self, process)

    def processes(self) -> list[psutil.Process]:
        """Return all living processes of runs of this place: command, kernel, JVM, Python workers."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return bool(alive and process.environ().get("FRUITS_TEST_MARK") == self.mark)
        except psutil.Error:
            return False

    def find(self, word: str) -> psutil.Process:
        return next(process for process in self.processes() if word in " ".join(process.cmdline()))

    def wait_until_alone(self, seconds: float = 15) -> None:
        """Wait until no process is left, and nothing can write any more."""
        wait_for(lambda: not self.processes(), seconds=seconds, what="the end of all processes")


@dataclass
class Run:
    """A run under way."""

    place: Place
    process: "subprocess.Popen[str]"

    def wait_for_batches(self, count: int, *, finished: bool = True) -> None:
        """Wait until so many batches are there, complete or begun."""

        def enough() -> bool:
            begun = 0 if finished else len(list_unfinished(self.place.store))
            return len(list_batches(self.place.store)) + begun >= count

        wait_for(enough, what=f"{count} batches", unless=self.process)

    def kill(self, victim: str) -> None:
        """Kill the command, the kernel with its process group, or the JVM, at once."""
        if victim == "command":
            self.process.kill()
        elif victim == "kernel":
            os.killpg(self.place.find("serve_notebook").pid, signal.SIGKILL)
        else:
            self.place.find("org.apache.spark.deploy.SparkSubmit").kill()

    def end(self, code: int | None = None) -> tuple[str, str]:
        """Wait for the end and return what was said; `code`: what the exit code must be."""
        said, complained = self.process.communicate(timeout=PATIENCE)
        if code is not None:
            assert self.process.returncode == code, said[-2000:] + complained[-2000:]
        assert "Traceback" not in complained, complained[-3000:]
        return said, complained


def wait_for(
    there: Callable[[], bool], *, what: str, seconds: float = PATIENCE, unless: "subprocess.Popen[Any] | None" = None
) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        assert unless is None or unless.poll() is None, f"the run ended before {what}: {unless.communicate()}"
        time.sleep(0.05)


def make_place(folder: Path, *, models: Path, **settings: object) -> Iterator[Place]:
    """Make a place with converted models; nothing of it is left running."""
    shutil.copytree(models, folder / "out" / "models")
    place = Place(folder, settings)
    yield place
    for process in place.processes():
        process.kill()
