"""A Livy server on this machine: Livy's own, of a release before EMR's, with our REPL in its drivers (livy/)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyspark
import requests
from cloud import clean_environ
from doubles import find_port

from fruits.java import find_java_home
from fruits.params import repository

BUILT = repository() / ".livy"
SOURCES = Path(__file__).with_name("livy")
SPARK_HOME = Path(pyspark.__file__).parent
# A session on this machine instead of a cluster.
LOCAL_SPARK = {
    "spark.master": "local[2]",
    "spark.driver.memory": "600m",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.ui.enabled": "false",
    "spark.pyspark.python": sys.executable,
    "spark.pyspark.driver.python": sys.executable,
}
# Kryo reads the private fields of what drivers answer; a Spark driver has these by itself.
_OPENED = ("java.lang", "java.util", "java.util.concurrent", "java.util.concurrent.atomic")
_LOGGING = """\
log4j.rootCategory=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""


def find_obstacle() -> str:
    """Say why there is no Livy here, nothing if there is one."""
    jar = BUILT / "repl.jar"
    if not jar.is_file():
        return "there is no Livy in .livy: run `make livy`"
    if any(source.stat().st_mtime > jar.stat().st_mtime for source in SOURCES.glob("*.java")):
        return "the Livy in .livy is older than its source: run `make livy`"
    return ""


@dataclass(frozen=True)
class Livy:
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def sessions(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/sessions", timeout=30)
        answer.raise_for_status()
        return list(answer.json()["sessions"])

    def drivers(self) -> list[psutil.Process]:
        """List the processes of the sessions: Spark's drivers, their Pythons and Python workers."""
        return [process for process in _list_processes(self.process.pid) if process.pid != self.process.pid]


@contextmanager
def start_livy(
    folder: Path, *, spark: Mapping[str, str], livy: Mapping[str, str], env: Mapping[str, str]
) -> Iterator[Livy]:
    """Run a Livy server, and end it and all its drivers.

    Parameters
    ----------
    folder
        Where settings, logs and temporary files go.
    spark, livy
        What `spark-defaults.conf` and `livy.conf` say; those of a cluster need `LOCAL_SPARK` on top.
    env
        Variables of the server on top of a clean environment; drivers inherit them.
    """
    for last in (False, False, True):
        started = _launch(folder, spark=spark, livy=livy, env=env)
        try:
            _wait(started)
            break
        except BaseException:
            _end(started.process)
            # Another test may have taken the port since it was found free.
            if last or "Address already in use" not in started.log.read_text(errors="replace"):
                raise
    try:
        yield started
    finally:
        _end(started.process)


def _launch(folder: Path, *, spark: Mapping[str, str], livy: Mapping[str, str], env: Mapping[str, str]) -> Livy:
    port = find_port()
    _write_settings(folder, spark=spark, livy=livy, port=port)
    log = folder / "livy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(folder),
            env={**_environ(folder), **env},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Livy(f"http://127.0.0.1:{port}", log, process)


def _write_settings(folder: Path, *, spark: Mapping[str, str], livy: Mapping[str, str], port: int) -> None:
    jars = [str(next((BUILT / "server").glob(f"{name}-*.jar"))) for name in ("livy-api", "livy-rsc")]
    own = {
        # EMR says `yarn` here.
        "livy.spark.master": spark.get("spark.master", "local[2]"),
        "livy.server.host": "127.0.0.1",
        "livy.server.port": str(port),
        "livy.spark.scala-version": "2.12",
        "livy.rsc.jars": ",".join(jars),
        "livy.repl.jars": str(BUILT / "repl.jar"),
        "livy.rsc.rpc.server.address": "127.0.0.1",
    }
    for name in ("livy", "spark", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "livy" / "log4j.properties").write_text(_LOGGING)
    (folder / "livy" / "livy.conf").write_text(_format({**livy, **own}))
    (folder / "spark" / "spark-defaults.conf").write_text(_format(spark))


def _format(settings: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


def _command(folder: Path) -> list[str]:
    home = find_java_home() or os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    return [
        java or "java",
        *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
        *("-classpath", f"{folder / 'livy'}:{BUILT / 'server'}/*", "org.apache.livy.server.LivyServer"),
    ]


def _environ(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in clean_environ().items() if not key.startswith(("PYSPARK", "SPARK", "LIVY"))}
    home = find_java_home()
    return {
        **kept,
        **({"JAVA_HOME": str(home)} if home else {}),
        # A driver keeps copies of what lies in S3 there.
        "HOME": str(folder),
        "LIVY_HOME": str(folder),
        "LIVY_CONF_DIR": str(folder / "livy"),
        "LIVY_LOG_DIR": str(folder),
        "LIVY_SHELL": str(SOURCES / "livy_shell.py"),
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_CONF_DIR": str(folder / "spark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        # Drivers that are killed leave their files.
        "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={folder / 'tmp'}",
    }


def _wait(livy: Livy, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(requests.ConnectionError):
            livy.sessions()
            return
        said = livy.log.read_text(errors="replace")[-3000:]
        assert livy.process.poll() is None, f"Livy ended:\n{said}"
        assert time.monotonic() < end, f"Livy did not start in {seconds} s:\n{said}"
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Python's workers are in a process group of their own, but all are in the server's session.
    while running := _list_processes(process.pid):
        for found in running:
            with suppress(psutil.NoSuchProcess):
                found.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        time.sleep(0.05)


def _list_processes(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
