"""The JVM of a Spark that is started here: its environment, its user, its log."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from fruits.errors import UsageError, find_cause
from fruits.java import drop_foreign

# PySpark reads and writes these in its own process as long as a session lives.
_OF_PYSPARK = re.compile(
    r"SPARK_(CONNECT_MODE_ENABLED|(LOCAL_)?REMOTE|AUTH_SOCKET_TIMEOUT|BUFFER_SIZE|PREFER_IPV6)|ARROW_PRE_.*"
)
# What Spark needs for the model's copies and the tables that it sends to workers.
TEMPORARY_BYTES = 64 * 2**20
# A stack trace, the frame of a crash report, and what Spark's script says when Java is gone.
_NO_WORDS = re.compile(
    r"\s*(at .*|\.\.\. \d+ more|#|\S+: line \d+: .*|head: .*|#? *An error report file .*|.*hs_err_pid\d+\S*)?\s*"
)
_EXCEPTION = re.compile(r"\w(Exception|Error)\b")


def find_pyspark() -> Path:
    """Return the folder of the PySpark that is imported here."""
    return Path(find_spec("pyspark").origin).parent  # type: ignore[union-attr, arg-type]


def check_private(*, cluster: bool) -> None:
    """Refuse what a private Spark cannot be kept from: another PySpark, a useless temporary folder, a noisy Python.

    Parameters
    ----------
    cluster
        Whether its executors are JVMs of their own.

    Raises
    ------
    UsageError
        Naming what stands in the way and what to do.
    """
    try:
        own = distribution("pyspark").locate_file("pyspark")
    except PackageNotFoundError:
        own = find_pyspark()
    if not find_pyspark().samefile(str(own)):
        raise UsageError(
            f"PySpark would come from {find_pyspark()}, which is another than the one installed here; "
            "take that folder out of PYTHONPATH."
        )
    if said := subprocess.run([sys.executable, "-c", ""], capture_output=True, text=True, check=False).stdout:
        raise UsageError(
            f"this Python prints {said[:60]!r} whenever it starts, and Spark's workers could not be understood; take "
            "that out of sitecustomize.py (see PYTHONPATH) or of the .pth file that does it."
        )
    _check_temporary()
    if cluster and not _has_user():
        raise UsageError(
            f"the system knows no user {os.getuid()}, whom executors need; set spark_master to local[*], or add "
            "the user (useradd)."
        )


def _check_temporary() -> None:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(f"{error.strerror}; set TMPDIR to a folder that can be written.") from error
    if "," in folder or ":" in folder:
        raise UsageError(f"TMPDIR={folder}: Spark takes no commas and colons there; name another folder.")
    if (free := shutil.disk_usage(folder).free) < TEMPORARY_BYTES:
        raise UsageError(
            f"the temporary folder {folder} has {free / 2**20:.0f} MiB left, and Spark needs "
            f"{TEMPORARY_BYTES / 2**20:.0f}; make room, or set TMPDIR to another folder."
        )


@contextmanager
def hide_foreign() -> Iterator[None]:
    """Hide during the block what the user has set for other Sparks; what is changed meanwhile is put back.

    A JVM that starts there keeps that environment, and so do its workers.
    """
    before = dict(os.environ)
    _set_environment(drop_foreign(before))
    try:
        yield
    finally:
        kept = {name: value for name, value in os.environ.items() if _OF_PYSPARK.fullmatch(name)}
        _set_environment({name: value for name, value in before.items() if not _OF_PYSPARK.fullmatch(name)} | kept)


def _set_environment(wanted: Mapping[str, str]) -> None:
    """Change what differs: other threads may be reading the rest."""
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ |= wanted


def make_log() -> Path:
    """Make the file that takes what a JVM says."""
    number, name = tempfile.mkstemp(prefix="fruits-spark-", suffix=".log")
    os.close(number)
    return Path(name)


def start_jvm(settings: Mapping[str, str], *, log: Path) -> None:
    """Start a JVM for PySpark, unless this process has one; what it says goes to the log."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is None:
        conf = SparkConf(loadDefaults=False).setAll(list(settings.items()))
        with log.open("ab") as stream:
            gateway = launch_gateway(conf, {"stdout": stream, "stderr": stream})  # type: ignore[no-untyped-call]
        SparkContext._ensure_initialized(gateway=gateway)
        if not _has_user():
            # Hadoop asks the system for a name, and gives up if it knows none.
            users = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
            users.setLoginUser(users.createRemoteUser(f"user-{os.getuid()}"))


def _has_user() -> bool:
    """Tell whether the system knows a name for the user of this process; containers run under mere numbers."""
    try:
        return bool(pwd.getpwuid(os.getuid()))
    except KeyError:
        return False


def describe_failed_start(error: Exception, *, log: Path | None) -> str:
    """Say why Spark did not start, in Java's own last words, and where the rest is."""
    from py4j.protocol import Py4JJavaError

    text = log.read_text(errors="replace") if log else ""
    lines = [" ".join(line.lstrip("#").split()) for line in text.splitlines() if not _NO_WORDS.fullmatch(line)]
    if isinstance(error, Py4JJavaError) or not lines:
        said = find_cause(str(error))
    else:
        said = "; ".join(lines[-1:] if _EXCEPTION.search(lines[-1]) else lines[-2:])
    return said + (f" (Java's log: {log})" if log else "")
