"""Spark's own History Server, on the event logs that the reports of a target keep."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from fruits import eventlog, folders
from fruits.errors import FruitsError, UsageError
from fruits.java import LOG_SETTINGS, clean_environment, describe_failed_start, make_log
from fruits.session import choose_environment, find_pyspark

# Spark's own choice; another one if it is taken.
PORT = 18080
_HOST = "127.0.0.1"
_SERVER = "org.apache.spark.deploy.history.HistoryServer"
_START_SECONDS = 60.0


def find_logs(reports: Path) -> list[Path]:
    """Return the event logs in `<reports>/<name>/spark/`; UsageError if there is none."""
    names = folders.as_folder(reports).list_folders()
    places = [reports / name / eventlog.FOLDER for name in names if not name.startswith(".")]
    logs = [place / name for place in places for name in folders.as_folder(place).list_files()]
    if found := [log for log in logs if log.suffix == ".zstd"]:
        return found
    raise UsageError(f"no report in {reports} has an event log of Spark; each `fruits run` keeps one from now on.")


@contextmanager
def serve_history(logs: list[Path], *, port: int = PORT) -> Iterator[str]:
    """Serve event logs, here or in S3, by Spark's History Server during the block; yield its address.

    It is on 127.0.0.1, on another port if that one is taken. If it does not start, the FruitsError quotes its log.
    """
    port = _find_port(port)
    with tempfile.TemporaryDirectory(prefix="fruits-history-") as place:
        for log in logs:
            (Path(place) / log.name).write_bytes(log.read_bytes())
        environment = choose_environment("local", os.environ)
        command = _build_command(Path(place), port=port, environment=environment)
        said = make_log()
        with clean_environment(), said.open("wb") as stream:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": stream}
            started = subprocess.Popen(command, env=os.environ | environment, **streams)
        with started as server:
            try:
                _wait(server, folder=Path(place), port=port, said=said)
                said.unlink()  # the server keeps it open; if it did not start, the message names it
                yield f"http://{_HOST}:{port}/"
            finally:
                server.terminate()


def _find_port(wanted: int) -> int:
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server((_HOST, port)) as probe:
            return int(probe.getsockname()[1])
    raise FruitsError(f"no port of {_HOST} is free for the History Server.")


def _build_command(folder: Path, *, port: int, environment: Mapping[str, str]) -> list[str]:
    java = f"{home}/bin/java" if (home := environment.get("JAVA_HOME")) else "java"
    settings = {
        "spark.history.fs.logDirectory": folder.as_uri(),
        "spark.history.ui.port": str(port),
        "spark.port.maxRetries": "0",
        "java.io.tmpdir": tempfile.gettempdir(),
        "log4j2.configurationFile": LOG_SETTINGS.as_uri(),
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    return [java, *options, "-cp", f"{find_pyspark()}/jars/*", _SERVER]


def _wait(server: "subprocess.Popen[bytes]", *, folder: Path, port: int, said: Path) -> None:
    """Wait until the server answers with the name of its folder: another one may have taken the port meanwhile."""
    end = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError, HTTPException), closing(HTTPConnection(_HOST, port, timeout=_START_SECONDS)) as asked:
            asked.request("GET", "/")
            if folder.name.encode() in asked.getresponse().read():
                return
        time.sleep(0.2)
    cause = describe_failed_start(FruitsError("it did not answer"), log=said)
    raise FruitsError(f"Spark's History Server did not start: {cause}")
