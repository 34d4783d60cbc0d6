"""`connect` in a process of its own against moto's server, and what is looked at from outside."""

import os
import pty
import re
import select
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from cloud import CIDR
from emr.cli import HOME_VARIABLE
from emr.tunnel import PORT
from sshd import Primary

from fruits.params import repository

SCRIPT = repository() / "scripts" / "aws_setup.sh"


def home_of(env: dict[str, str]) -> Path:
    return Path(env[HOME_VARIABLE])


@dataclass
class Connection:
    """`connect` in a process of its own, and what it writes."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, pattern: str, *, seconds: float = 30, times: int = 1) -> None:
        """Wait until it has written this so many times, and no longer than it lives."""
        end = time.monotonic() + seconds
        while len(re.findall(pattern, text := self.log.read_text())) < times:
            assert self.process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.05)

    def read_password(self) -> str:
        """Return the password that it has told."""
        return str(re.findall(r"new password (\S+)", self.log.read_text())[0])

    def end(self) -> tuple[int, str]:
        """Wait for its end; return exit code and output."""
        return self.process.wait(timeout=30), self.log.read_text()

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C, which a terminal tells every process in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()


@dataclass
class Terminal:
    """A terminal with a person before it."""

    person: int
    inside: int

    def wait_for(self, words: bytes) -> None:
        """Read what is asked, until these words come."""
        asked = b""
        while words not in asked:
            assert select.select([self.person], [], [], 20)[0], asked
            asked += os.read(self.person, 1024)

    def type(self, keys: bytes) -> None:
        os.write(self.person, keys)


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    terminal = Terminal(*pty.openpty())
    try:
        yield terminal
    finally:
        os.close(terminal.person)
        os.close(terminal.inside)


@contextmanager
def connecting(env: dict[str, str], folder: Path, *, terminal: Terminal | None = None) -> Iterator[Connection]:
    log = folder / "connect.log"
    # Else Ctrl-C would be ignored where the tests themselves run in the background.
    command = ["env", "--default-signal=INT", str(SCRIPT), "connect", *CIDR]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command if terminal is None else ["setsid", "--ctty", *command],
            env=env,
            stdin=subprocess.DEVNULL if terminal is None else terminal.inside,
            stdout=output,
            stderr=output,
            start_new_session=terminal is None,
        )
    try:
        yield Connection(process, log)
    finally:
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
        process.wait(timeout=10)


def ask_hub(far: Primary) -> str:
    """Ask for a page through the tunnel; nothing but the far server has the certificate's key."""
    context = ssl.create_default_context(cafile=str(far.folder / "hub.pem"))
    with urllib.request.urlopen(f"https://localhost:{PORT}/", timeout=10, context=context) as answer:
        return bytes(answer.read()).decode()


def find_cluster() -> Any:
    """Look into moto for the one cluster."""
    from moto.emr.models import emr_backends

    (cluster,) = (
        cluster
        for account in emr_backends.values()
        for backend in account.values()
        for cluster in backend.clusters.values()
    )
    return cluster


def show_console(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let moto's server show this console for each instance, since it looks for EMR's in a region of its own."""
    from moto.core.responses import ActionResult
    from moto.core.types import Base64EncodedString

    answer = ActionResult({"InstanceId": "i-1", "Output": Base64EncodedString.from_raw_string(text)})
    monkeypatch.setattr("moto.ec2.responses.general.General.get_console_output", lambda _: answer)
