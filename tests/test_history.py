"""`fruits history`: Spark's own server, on the logs of reports, on this machine only."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import requests

from fruits.errors import FruitsError, UsageError
from fruits_cli import history
from fruits_cli.history import find_logs, serve_history

FRUITS = Path(sys.executable).with_name("fruits")
EVENTS = (
    {"Event": "SparkListenerLogStart", "Spark Version": "3.5.8"},
    {"Event": "SparkListenerApplicationStart", "App Name": "apples", "App ID": "local-7", "User": "a",
     "Timestamp": 1_600_000_000_000},
    {"Event": "SparkListenerApplicationEnd", "Timestamp": 1_600_000_060_000},
)  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a `report_dir` whose target sample has a report with an event log, and one without."""
    folder = tmp_path_factory.mktemp("reports")
    log = folder / "sample" / "MINI" / "spark" / "local-7.zstd"
    log.parent.mkdir(parents=True)
    (folder / "sample" / "OLD").mkdir()
    # The server looks for events by how their lines begin, so there may be no spaces.
    lines = [json.dumps(event, separators=(",", ":")) for event in EVENTS]
    with pa.CompressedOutputStream(str(log), "zstd") as stream:
        stream.write("\n".join(lines).encode())
    (log.parent / "stages.csv").write_text("stage\n")
    return folder


def test_logs_of_all_reports_are_found(reports: Path, tmp_path: Path) -> None:
    assert [log.name for log in find_logs(reports / "sample")] == ["local-7.zstd"]
    with pytest.raises(UsageError, match="has an event log of Spark"):
        find_logs(tmp_path)


def test_a_port_that_is_taken_is_not_used(reports: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with serve_history(find_logs(reports / "sample"), port=taken) as address:
            assert address.startswith("http://127.0.0.1:")
            assert address != f"http://127.0.0.1:{taken}/"


def test_another_server_on_the_port_is_not_taken_for_ours(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        monkeypatch.setattr(history, "_find_port", lambda _: other.server_port)
        with pytest.raises(FruitsError, match=r"did not start: .*BindException"):
            history.serve_history(find_logs(reports / "sample")).__enter__()
        other.shutdown()


def test_the_command_serves_on_this_machine_until_it_is_stopped(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [str(FRUITS), "history", "--set", f"report_dir={reports}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        said = shown.stdout.readline()
        try:
            assert list_applications(said.split()[3]) == [("local-7", "apples", 60_000)]
            (server,) = psutil.Process(shown.pid).children()
            places = {entry.laddr.ip for entry in server.net_connections() if entry.status == psutil.CONN_LISTEN}
            (folder,) = (word.partition("file://")[2] for word in server.cmdline() if "logDirectory" in word)
        finally:
            shown.send_signal(signal.SIGINT)
        assert shown.wait(timeout=30) == 130
    assert said.startswith("fruits: 1 run: http://127.0.0.1:")
    assert places <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert places
    assert not server.is_running()
    assert Path(folder).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def list_applications(address: str) -> list[tuple[str, str, int]]:
    """Return id, name and milliseconds of each application, once the server has read its logs."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := requests.get(f"{address}api/v1/applications", timeout=60).json():
            return [(entry["id"], entry["name"], entry["attempts"][0]["duration"]) for entry in found]
        time.sleep(0.2)
    raise TimeoutError(address)
