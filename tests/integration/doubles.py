"""A local S3, and a network before it that fails: what the tests of the data plane share."""

import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REGION = "eu-west-1"
_SERVER = """import sys
import pytest
from moto.server import main
from stacks_double import complete_moto
complete_moto(pytest.MonkeyPatch())
main(sys.argv[1:])"""
_LOADED = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
# Nothing here asks who is calling.
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": REGION}


def find_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def local_s3() -> Iterator[str]:
    """Run moto's server and give its address."""
    port = find_port()
    command = [sys.executable, "-c", _SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env=os.environ | _LOADED,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < end, "moto's server did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_client(address: str) -> Any:
    """Return boto3's client of a local S3."""
    import boto3

    keys = {name.lower(): KEYS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return boto3.client("s3", endpoint_url=address, region_name=REGION, **keys)


def list_keys(client: Any, bucket: str, *, prefix: str = "") -> set[str]:
    """List the objects below a prefix, by their whole keys."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Faults:
    """What the network does to requests, in turn: `slow down`, `reset`, `late`, `forbidden`, or nothing."""

    every: int = 0
    kinds: tuple[str, ...] = ("slow down", "reset", "late")
    forbidden: bool = False
    seen: int = 0
    done: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self) -> str:
        with self.lock:
            self.seen += 1
            if self.forbidden:
                return "forbidden"
            if not self.every or self.seen % self.every:
                return ""
            self.done.append(self.kinds[len(self.done) % len(self.kinds)])
            return self.done[-1]


_REFUSALS = {
    "slow down": (503, "SlowDown", "Please reduce your request rate."),
    "forbidden": (403, "AccessDenied", "Access Denied"),
}


@contextmanager
def failing_network(address: str, faults: Faults) -> Iterator[str]:
    """Run a proxy before a server that lets requests through or not, and give its address."""
    behind = urlsplit(address)
    host = str(behind.hostname)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self._read_body()
            fault = faults.choose()
            if fault == "reset":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault in _REFUSALS:
                self._refuse(*_REFUSALS[fault])
                return
            if fault == "late":
                time.sleep(1)
            self._pass_on(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815 - as http.server calls them

        def _read_body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _refuse(self, status: int, code: str, message: str) -> None:
            body = (
                b""
                if self.command == "HEAD"
                else f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            )
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _pass_on(self, body: bytes) -> None:
            connection = http.client.HTTPConnection(host, behind.port, timeout=60)
            dropped = {"transfer-encoding", "content-length", "connection", "expect"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
