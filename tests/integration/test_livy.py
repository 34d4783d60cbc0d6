"""The Livy of the tests of sparkmagic does what notebooks on EMR rely on; budget: 90 seconds.

Livy looks for sessions that timed out once a minute, so their test waits for that: its server runs beside the others.
"""

import base64
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from livy_server import LOCAL_SPARK, Livy, find_obstacle, start_livy
from PIL import Image

from fruits.eventlog import choose_settings, read_event_log

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(find_obstacle()), reason=find_obstacle())]
Json = dict[str, Any]
# When Livy has looked for sessions that timed out, for the first time since it started.
SWEEP = 60


@dataclass
class Session:
    livy: Livy
    request: Json = field(default_factory=dict)
    url: str = ""

    def start(self) -> "Session":
        answer = self._call("POST", f"{self.livy.url}/sessions", json={"kind": "pyspark", **self.request})
        self.url = f"{self.livy.url}/sessions/{answer['id']}"
        return self

    def wait_for_idle(self) -> "Session":
        wait(lambda: self.state() != "starting", seconds=60)
        assert self.state() == "idle", self.livy.log.read_text()[-5000:]
        return self

    def state(self) -> str:
        return str(self._call("GET", self.url)["state"])

    def send(self, code: str) -> int:
        return int(self._call("POST", f"{self.url}/statements", json={"code": code})["id"])

    def look(self, statement: int) -> Json:
        return self._call("GET", f"{self.url}/statements/{statement}")

    def run(self, code: str) -> Json:
        statement = self.send(code)
        wait(lambda: self.look(statement)["state"] == "available", seconds=60)
        return dict(self.look(statement)["output"])

    def cancel(self, statement: int) -> None:
        self._call("POST", f"{self.url}/statements/{statement}/cancel")

    def delete(self) -> None:
        self._call("DELETE", self.url)

    def _call(self, method: str, url: str, **content: Any) -> Json:
        answer = requests.request(method, url, timeout=30, **content)
        assert answer.ok, answer.text
        return dict(answer.json())


def wait(true: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not in {seconds} s"
        time.sleep(0.1)


@dataclass(frozen=True)
class Timeouts:
    """An idle session, and one in a statement that takes longer than their timeout."""

    begin: float
    busy: Session
    statement: int


@pytest.fixture(scope="module", autouse=True)
def timeouts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timeouts]:
    settings = {"livy.server.session.timeout": "30s", "livy.server.session.timeout-check.skip-busy": "true"}
    with start_livy(tmp_path_factory.mktemp("timeouts"), spark=LOCAL_SPARK, livy=settings, env={}) as livy:
        begin = time.monotonic()
        sessions = [Session(livy).start(), Session(livy).start()]
        _, busy = (session.wait_for_idle() for session in sessions)
        seconds = begin + SWEEP + 20 - time.monotonic()
        yield Timeouts(begin, busy, busy.send(f"import time; time.sleep({seconds})"))


@pytest.fixture(scope="module")
def livy(tmp_path_factory: pytest.TempPathFactory, timeouts: Timeouts) -> Iterator[Livy]:
    folder = tmp_path_factory.mktemp("livy")
    (folder / "events").mkdir()
    spark = LOCAL_SPARK | choose_settings(folder / "events")
    settings = {"livy.server.heartbeat-watchdog.interval": "1s", "livy.file.local-dir-whitelist": str(folder)}
    with start_livy(folder, spark=spark, livy=settings, env={}) as livy:
        yield livy


@pytest.fixture(scope="module")
def session(livy: Livy) -> Session:
    """Run a session that ships a zip, as the notebooks' does."""
    archive = livy.log.with_name("shipped.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("shipped/__init__.py", "ANSWER = 42\n")
    return Session(livy, {"pyFiles": [archive.as_uri()], "heartbeatTimeoutInSecond": 60}).start().wait_for_idle()


def text(output: Json) -> str:
    assert output["status"] == "ok", output
    return str(output["data"]["text/plain"])


def test_session_is_idle_and_listed(livy: Livy, session: Session) -> None:
    listed = livy.sessions()

    assert [(entry["kind"], entry["state"]) for entry in listed] == [("pyspark", "idle")]
    assert len(livy.drivers()) >= 1


def test_prints_and_last_expression_are_shown(session: Session) -> None:
    assert text(session.run("1 + 1\nprint('a')\n'b' * 2")) == "a\n'bb'"
    assert text(session.run("kept = 3")) == ""
    assert text(session.run("kept")) == "3"


def test_names_of_spark_are_there(session: Session) -> None:
    assert text(session.run("spark.range(1000).count()")) == "1000"
    assert text(session.run("sqlContext.sql('select 1 as one').first().one, sc.appName")).startswith("(1, 'livy-")


def test_error_has_name_value_and_traceback(session: Session) -> None:
    output = session.run("def divide():\n    return 1 / 0\n\ndivide()")

    assert (output["status"], output["ename"], output["evalue"]) == ("error", "ZeroDivisionError", "division by zero")
    assert output["traceback"][0].startswith("Traceback")
    assert ["divide" in line for line in output["traceback"]] == [False, True, False]
    assert session.run("def f(:")["ename"] == "SyntaxError"
    assert session.run("%nonsense")["ename"] == "UnknownMagic"


def test_error_of_spark_is_an_error(session: Session) -> None:
    assert session.run("spark.read.parquet('file:/nowhere')")["ename"] == "AnalysisException"

    output = session.run("sc.parallelize([0]).map(lambda value: 1 / value).collect()")

    assert (output["status"], output["ename"]) == ("error", "Py4JJavaError")
    assert "ZeroDivisionError" in output["evalue"]


def test_figure_is_a_png(session: Session) -> None:
    code = "import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 3), dpi=50)\n_ = plt.plot([1, 2])\n%matplot plt"

    output = session.run(code)

    assert output["status"] == "ok"
    with Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (200, 150))


def test_oddities_of_livy_are_kept(session: Session) -> None:
    """What sparkmagic must cope with: a magic that fails is `ok`, what a statement printed before it failed is lost."""
    failed = session.run("%matplot nothing")
    assert failed["status"] == "ok"
    assert failed["data"]["content"]["ename"] == "KeyError"

    assert "before" not in str(session.run("print('before'); 1 / 0"))
    assert text(session.run("2")) == "2"


def test_files_are_importable_on_driver_and_executors(session: Session) -> None:
    assert text(session.run("import shipped; shipped.ANSWER")) == "42"
    code = (
        "def read(_):\n    import shipped\n    return shipped.ANSWER\n\nsc.parallelize(range(2), 2).map(read).collect()"
    )
    assert text(session.run(code)) == "[42, 42]"


def test_progress_moves_during_a_job(session: Session) -> None:
    code = "import time; sc.parallelize(range(16), 16).foreach(lambda _: time.sleep(0.3))"
    statement = session.send(code)
    seen: list[float] = []

    def look() -> bool:
        now = session.look(statement)
        seen.append(now["progress"])
        return bool(now["state"] == "available")

    wait(look, seconds=60)

    assert len({progress for progress in seen if 0 < progress < 1}) > 2
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_cancel_ends_a_job(session: Session) -> None:
    statement = session.send("import time; sc.parallelize(range(2), 2).foreach(lambda _: time.sleep(100))")
    wait(lambda: session.look(statement)["state"] == "running", seconds=60)

    session.cancel(statement)

    wait(lambda: session.look(statement)["state"] == "cancelled", seconds=60)
    assert text(session.run("1")) == "1"


def test_session_of_a_client_that_vanished_ends(livy: Livy, session: Session) -> None:
    kept = {process.pid for process in livy.drivers()}
    Session(livy, {"heartbeatTimeoutInSecond": 2}).start()
    wait(lambda: len(livy.sessions()) == 2, seconds=60)

    wait(lambda: len(livy.sessions()) == 1, seconds=60)
    wait(lambda: {process.pid for process in livy.drivers()} <= kept, seconds=60)


def test_death_of_python_ends_the_session(livy: Livy) -> None:
    session = Session(livy).start().wait_for_idle()

    output = session.run("import os; os._exit(3)")

    assert (output["status"], output["ename"]) == ("error", "Error")
    assert output["evalue"].startswith("Interpreter died")
    assert session.state() == "error"
    session.delete()


def test_delete_ends_the_processes(livy: Livy, session: Session) -> None:
    assert livy.drivers()
    application = text(session.run("sc.applicationId"))

    session.delete()

    assert livy.sessions() == []
    wait(lambda: not livy.drivers(), seconds=60)
    run = read_event_log(livy.log.parent / "events" / f"{application[1:-1]}.zstd")
    assert run.application == application[1:-1]
    assert set(run.executors["executor"]) == {"driver"}


def test_timeout_ends_idle_sessions_and_spares_busy_ones(timeouts: Timeouts) -> None:
    server = timeouts.busy.livy
    assert len(server.sessions()) == 2

    wait(lambda: len(server.sessions()) == 1, seconds=timeouts.begin + SWEEP + 18 - time.monotonic())

    assert server.sessions()[0]["state"] == "busy"
    wait(lambda: timeouts.busy.look(timeouts.statement)["state"] == "available", seconds=60)
    assert text(timeouts.busy.run("'alive'")) == "'alive'"
