"""Run a job in a process of its own and watch what its family of processes takes."""

import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

# Seconds between looks at the memory.
EVERY = 0.25


def run_job(name: str, **job: Any) -> dict[str, Any]:
    """Run a job of `benchmarks.jobs`.

    Returns
    -------
    dict
        Its figures; `job`, the seconds of the whole process, imports and JVM included; `peak_mib`, the peak memory
        of the driver, of the JVM and of the largest other Python process.

    Raises
    ------
    RuntimeError
        With the end of what the job said, if it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.jobs", name, json.dumps(job), str(result)]
        with (Path(folder) / "log").open("w+") as log:
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=log, stderr=log)
            peaks = watch(process, _look)
            elapsed = time.perf_counter() - started
            if process.returncode:
                log.seek(0)
                raise RuntimeError(f"{name}: exit code {process.returncode}\n{log.read()[-3000:]}")
        return {**json.loads(result.read_text()), "job": elapsed, "peak_mib": peaks}


def time_command(command: list[str], *, cwd: Path) -> float:
    """Return the seconds a command takes.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return time.perf_counter() - started


def watch(
    process: "subprocess.Popen[Any]",
    look: Callable[[int], dict[str, int]],
    *,
    every: float = EVERY,
    at_most: float = math.inf,
) -> dict[str, int]:
    """Look at a process by its id until it ends, or so many seconds at most; return the peak of each figure."""
    peaks: dict[str, int] = {}
    end = time.perf_counter() + at_most
    while process.poll() is None and time.perf_counter() < end:
        for kind, mebibytes in look(process.pid).items():
            peaks[kind] = max(peaks.get(kind, 0), mebibytes)
        time.sleep(every)
    return peaks


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, system and the versions that matter."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    packages = ("pyspark", "ai-edge-litert", "tensorflow-cpu", "numpy", "pyarrow", "pillow")
    return {
        "processor": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _look(pid: int) -> dict[str, int]:
    """Return the memory of the driver, of the JVM and of the largest other Python process, MiB."""
    sizes: dict[str, int] = {}
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            name = process.name()
            kind = "driver" if process.pid == pid else "jvm" if name == "java" else "worker"
            # A thread of the JVM that starts a program is, for a moment, a process under its name as large as the JVM.
            if kind != "worker" or name.startswith("python"):
                sizes[kind] = max(sizes.get(kind, 0), process.memory_info().rss // 2**20)
    except psutil.NoSuchProcess:
        pass
    return sizes
