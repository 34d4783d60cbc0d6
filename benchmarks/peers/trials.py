"""A command beside its clock, its memory and its end: undisturbed, over a cut file, killed in the middle."""

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import psutil

from benchmarks.measure import watch

EVERY = 0.5
PATIENCE = 420.0


@dataclass
class Family:
    """A process and all that came from it, also what left it since."""

    seen: dict[int, psutil.Process] = field(default_factory=dict)

    def look(self, pid: int) -> dict[str, int]:
        """Return the memory of all, pages that are shared counted once, and of the largest, MiB."""
        together, largest = 0.0, 0.0
        try:
            root = psutil.Process(pid)
            self.seen.update({process.pid: process for process in [root, *root.children(recursive=True)]})
        except psutil.NoSuchProcess:
            return {}
        for process in self.seen.values():
            try:
                memory = process.memory_full_info()
            except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
                continue
            together, largest = together + memory.pss / 2**20, max(largest, memory.rss / 2**20)
        return {"family": round(together), "largest": round(largest)}

    def end(self) -> list[str]:
        """Kill what is left; return its names."""
        left = []
        for process in self.seen.values():
            try:
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process.name())
                    process.kill()
            except psutil.NoSuchProcess:
                continue
        return left


def run(command: list[str], *, work: Path, log: Path, kill_after: float = PATIENCE) -> dict[str, Any]:
    """Run a command as in its own activated environment; after so many seconds kill its first process.

    Returns
    -------
    dict
        `seconds`, `code` (of its exit), `peak_mib`, `said` (the end of what it printed), `left` (processes that
        outlived it by a second; they are ended).
    """
    binaries = Path(command[0]).parent
    home = {
        "FIFTYONE_DATABASE_DIR": str(work / "mongo"),
        "FIFTYONE_DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment = {**os.environ, **home, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    family = Family()
    with log.open("w") as file:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            peaks = watch(process, family.look, every=EVERY, at_most=kill_after)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            code = process.wait()
            seconds = time.perf_counter() - started
            time.sleep(1)
            left = family.end()
    return {"seconds": seconds, "code": code, "peak_mib": peaks, "said": _last_words(log), "left": left}


def read_features(output: Path) -> tuple[list[str], list[Any]]:
    """Read what a peer has written: names of files from the split on, and features, None where there are none."""
    import pyarrow.parquet as pq

    names: list[str] = []
    features: list[Any] = []
    for file in sorted(output.rglob("*.parquet")):
        if file.is_file() and not {"_temporary", "mongo"} & set(file.parts):
            table = pq.ParquetFile(file).read(columns=["path", "features"])
            names += [unquote(path).partition("Training/")[2] for path in table["path"].to_pylist()]
            features += table["features"].to_pylist()
    return names, features


def find_gap(output: Path, reference: dict[str, Any]) -> float | None:
    """Return the largest difference of a feature from the reference, over the images of both."""
    pairs = [(row, reference[name]) for name, row in zip(*read_features(output), strict=True) if name in reference]
    return float(max(np.abs(np.subtract(one, other)).max() for one, other in pairs)) if pairs else None


def cut_file(folder: Path, target: Path) -> str:
    """Copy a folder of images, and cut one of them in half; return its name."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    files = sorted(target.rglob("*.jpg"))
    chosen = files[len(files) // 2]
    chosen.write_bytes(chosen.read_bytes()[: chosen.stat().st_size // 2])
    return chosen.relative_to(target / "Training").as_posix()


def judge_cut(done: dict[str, Any], output: Path, *, name: str, images: int, text: str) -> str:
    """Say what a run over a folder with one cut file came to."""
    if done["code"]:
        return "the run fails; the log names the file" if Path(name).name in text else "the run fails; no name"
    try:
        found = dict(zip(*read_features(output), strict=True))
    except Exception as error:  # a finding about the peer's files
        return f"files that cannot be read: {type(error).__name__}"
    if name not in found:
        told = "the log names it" if Path(name).name in text else "nothing is said"
        return f"the others are done ({len(found)} of {images - 1}), no row; {told}"
    if found[name] is None:
        return "a row without features"
    return "features of half a picture, nothing is said"


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(errors="replace")) if line.strip()]
    telling = [line for line in lines if re.search(r"(Error|Exception)\b", line)]
    return (telling or lines or [""])[-1][:300]
