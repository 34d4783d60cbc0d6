"""Starting is asked for once: a server that takes the request and never says what came of it."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from emr.account import Account, AwsError, UnclearError
from emr.request import Request

from fruits.errors import FruitsError

pytest.importorskip("boto3")


class Server(HTTPServer):
    """Counts what reaches it; hangs up, or answers with a status and an error code."""

    status = 0
    code = "InternalFailure"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reached: list[str] = []

    def handle_error(self, *_: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reached.append(self.headers["X-Amz-Target"])
        if self.server.status:
            body = json.dumps({"__type": self.server.code, "message": "no"}).encode()
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield server
    server.shutdown()
    server.server_close()


INSTANCES = {"KeepJobFlowAliveWhenNoSteps": True}
START = Request("emr", "run_job_flow", {"Name": "fruits", "Instances": INSTANCES})
STEP = Request("emr", "add_job_flow_steps", {"JobFlowId": "j-1", "Steps": []})


@pytest.mark.parametrize("status", [0, 500, 503], ids=["hangs up", "500", "503"])
@pytest.mark.parametrize(("request_", "what"), [(START, "cluster"), (STEP, "step")])
def test_an_unclear_start_is_not_repeated_and_says_where_to_look(
    server: Server, status: int, request_: Request, what: str
) -> None:
    server.status = status
    with pytest.raises(UnclearError, match=rf"The {what} may have started all the same.* status, .* audit"):
        Account("eu-west-1").send(request_)
    assert len(server.reached) == 1


def test_a_refused_start_is_clear(server: Server) -> None:
    server.status, server.code = 400, "ValidationException"
    with pytest.raises(AwsError, match="AWS refused emr run_job_flow: ValidationException"):
        Account("eu-west-1").send(START)


def test_a_start_without_a_connection_was_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(FruitsError, match="Check the network") as raised:
        Account("eu-west-1").send(START)
    assert not isinstance(raised.value, UnclearError)
