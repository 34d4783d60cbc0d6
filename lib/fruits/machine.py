"""What this machine gives to a Spark that is started on it: Python, PySpark, memory, disk. Checked without Spark."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

from fruits.errors import UsageError
from fruits.java import has_user_name
from fruits.session import find_pyspark

# Spark needs this for the copies of the model and the tables that it sends to workers.
SPARE_BYTES = 64 * 2**20
_FREE = Path("/proc/meminfo")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_python(*, cluster: bool) -> None:
    """Refuse another PySpark, a Python that prints; for the executors of `local-cluster`, a user without a name."""
    # Another PySpark may have come with its metadata: what PYTHONPATH names is not this environment.
    theirs = {Path(path).resolve() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    paths = [path for path in sys.path if Path(path).resolve() not in theirs]
    own = next(iter(distributions(name="pyspark", path=paths)), None)
    if own and not find_pyspark().samefile(str(own.locate_file("pyspark"))):
        raise UsageError(
            f"PySpark would be imported from {find_pyspark()}, not from this environment",
            cure="remove that folder from PYTHONPATH",
        )
    if text := subprocess.run([sys.executable, "-c", ""], capture_output=True, text=True, check=False).stdout:
        raise UsageError(
            f"this Python prints {text[:60]!r} whenever it starts, which breaks the protocol of Spark's workers",
            cure="remove that from sitecustomize.py (see PYTHONPATH) or from the .pth file that does it",
        )
    if cluster and not has_user_name():
        raise UsageError(
            f"user {os.getuid()} has no name on this system, and the executors of local-cluster need one",
            cure="set spark_master to local[*], or add the user (useradd)",
        )


def find_temporary_folder() -> Path:
    """Return the temporary folder; refuse one that Spark cannot use."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(str(error.strerror), cure="set TMPDIR to a folder that can be written") from error
    if "," in folder or ":" in folder:
        raise UsageError(f"TMPDIR={folder}: Spark allows no comma and no colon there", cure="name another folder")
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):  # macOS has no name for it
        raise UsageError(
            f"the temporary folder {folder} is mounted with noexec, and Java unpacks libraries there",
            cure="set TMPDIR to another folder",
        )
    measure_space(Path(folder), what="the temporary folder", cure="set TMPDIR to another folder")
    return Path(folder)


def measure_space(folder: Path, *, what: str, cure: str) -> int:
    """Return the free bytes of a folder's disk; refuse a full one."""
    if (free := shutil.disk_usage(folder).free) < SPARE_BYTES:
        raise UsageError(
            f"{what} {folder} has {free / 2**20:.0f} MiB free, and Spark needs {SPARE_BYTES / 2**20:.0f}",
            cure=f"free some space, or {cure}",
        )
    return free


def measure_memory() -> int:
    """Return the bytes that programs may still take; outside of Linux, all that are built in."""
    with suppress(OSError):
        free = re.findall(r"MemAvailable:\s+(\d+)", _FREE.read_text())
        limits = [file.read_text().strip() for file in _LIMITS if file.is_file()]
        return min([int(kib) * 1024 for kib in free] + [int(limit) for limit in limits if limit.isdigit()])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
