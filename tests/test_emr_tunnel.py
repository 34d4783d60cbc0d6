"""A tunnel's program that is cut, refused, ended: the logic, with a program of our own in the place of ssh."""

import dataclasses
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from emr import forwarding, tunnel
from emr.forwarding import PAUSES, Forward, check_port, is_taken, keep_open

from fruits.errors import FruitsError

if TYPE_CHECKING:
    from emr.context import Context

# Takes one instruction from a file, "PORT|- WORDS|- CODE", in each run: listens on PORT for a moment, says, ends so.
PROGRAM = """
import os, pathlib, signal, socket, sys, time
file = pathlib.Path(sys.argv[1])
(port, words, code), *rest = [line.split() for line in file.read_text().splitlines()]
file.write_text("".join(" ".join(line) + chr(10) for line in rest))
if port != "-":
    server = socket.create_server(("127.0.0.1", int(port)))
    while code == "stay":
        time.sleep(0.1)
    time.sleep(0.3)
if words != "-":
    print(words.replace("_", " "), file=sys.stderr)
if int(code) < 0:
    os.kill(os.getpid(), -int(code))
sys.exit(int(code))
"""
Start = Callable[..., Forward]


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def start(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(forwarding, "_LOOK", 0.02)

    def make(*runs: str) -> Forward:
        file = tmp_path / "runs"
        file.write_text("\n".join(runs).replace("PORT", str(port)))
        return Forward(
            command=[sys.executable, "-c", PROGRAM, str(file)],
            port=port,
            url="https://localhost:9443",
            zero_is_wanted=True,
            refusals={"key refused": "another key is needed"},
            advice="Look.",
        )

    return make


def look_nowhere() -> None:
    """See nothing new."""


def keep(
    forward: Forward, *, look: Callable[[], None] = look_nowhere, pauses: Sequence[float] = (0, 0), steady: float = 60
) -> tuple[str, list[str]]:
    """Keep a tunnel open to its end; return how it ended, and what was said."""
    said: list[str] = []
    forward = dataclasses.replace(forward, pauses=pauses, steady=steady)
    try:
        return str(keep_open(forward, say=said.append, look=look)), said
    except FruitsError as error:
        return f"{error.exit_code} {error}", said


def test_a_cut_is_told_with_the_time_and_the_tunnel_opened_again(start: Start) -> None:
    end, said = keep(start("PORT - 255", "- - 255", "PORT - 0"))
    assert end == "0"
    opened, cut, tried, again = said
    assert opened == "Open: https://localhost:9443 (until you press Ctrl-C)"
    assert "The tunnel was cut after 0 s" in cut
    assert "ended with code 255; trying again in 0 s. Ctrl-C ends it." in cut
    assert cut[2] == cut[5] == ":"
    assert "Not open again yet" in tried
    assert again.startswith("Open again: https://localhost:9443")


def test_an_end_before_it_was_open_is_the_end(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    end, said = keep(start("- no_such_host 255"))
    assert end.startswith("1 no tunnel: ")
    assert end.endswith("ended with code 255 before it was open. Look.")
    assert said == []
    assert capsys.readouterr().err == "no such host\n"
    assert keep(start("- - 0"))[0].startswith("1 no tunnel: ")  # an end with 0 is no success


@pytest.mark.parametrize("runs", [["- key_refused! 255"], ["PORT - 255", "- key_refused! 255", "PORT - 0"]])
def test_a_refusal_ends_it_at_the_start_and_after_a_cut(start: Start, runs: list[str]) -> None:
    end, said = keep(start(*runs))
    assert end == "1 another key is needed"
    assert len(said) == 2 * (len(runs) > 1)


def test_it_does_not_try_for_ever_unless_it_is_steady(start: Start) -> None:
    end, said = keep(start("PORT - 255", "- - 1", "- - 1", "PORT - 0"))
    assert end == "1 the tunnel was cut and did not come back in 2 tries. Look."
    assert len(said) == 3
    assert keep(start(*["PORT - 255"] * 4))[0].startswith("1 the tunnel was cut")  # it falls at once
    assert keep(start(*["PORT - 255"] * 3, "PORT - 0"), steady=0)[0] == "0"


def test_aws_is_asked_once_a_cut_after_the_first_try_that_failed(start: Start) -> None:
    looks = []
    runs = ["PORT - 255", "PORT - 255", "- - 1", "- - 1", "PORT - 255", "- - 1", "PORT - 0"]
    assert keep(start(*runs), pauses=[0] * 9, look=lambda: looks.append("look"))[0] == "0"
    assert len(looks) == 2


def test_a_cluster_that_is_over_ends_the_tries(start: Start) -> None:
    def look() -> None:
        raise FruitsError("the tunnel is over")

    assert keep(start("PORT - 255", "- - 1", "PORT - 0"), look=look)[0] == "1 the tunnel is over"


def test_a_signal_is_a_cut(start: Start) -> None:
    end, said = keep(start("PORT - -15", "PORT - 0"))
    assert end == "0"
    assert "ended with signal 15" in said[1]


def test_systems_manager_ends_idle_sessions_with_0(start: Start, tmp_path: Path) -> None:
    forward = dataclasses.replace(start("PORT - 0", "PORT - 0"), zero_is_wanted=False)
    end, said = keep(forward, pauses=(0,))
    assert end.startswith("1 the tunnel was cut")
    assert "ended with code 0" in said[1]
    assert not tunnel.describe_forward(["aws"], ssm=True, key=tmp_path).zero_is_wanted
    assert tunnel.describe_forward(["ssh"], ssm=False, key=tmp_path).zero_is_wanted


def test_pauses_come_to_ten_minutes_and_dead_peers_are_noticed_within_one(tmp_path: Path) -> None:
    assert list(PAUSES) == sorted(PAUSES)
    assert PAUSES[0] <= 1
    assert 9 * 60 <= sum(PAUSES) <= 10 * 60
    command = tunnel.ssh_command("ec2-1", key=tmp_path / "key", known_hosts=tmp_path / "hosts", certain=True)
    options = dict(part.split("=", 1) for part in command if "=" in part)
    assert int(options["ServerAliveInterval"]) * (int(options["ServerAliveCountMax"]) + 1) <= 60
    assert int(options["ConnectTimeout"]) <= 30
    assert options["ExitOnForwardFailure"] == "yes"
    assert command[1:3] == ["-S", "none"]


@pytest.mark.parametrize("ssm", [False, True])
def test_after_a_cut_the_address_of_now_is_let_in(monkeypatch: pytest.MonkeyPatch, ssm: bool) -> None:
    let_in: list[str | None] = []
    monkeypatch.setattr(tunnel, "find_primary", lambda *_: {})
    monkeypatch.setattr(tunnel, "_let_in", lambda _, cidr: let_in.append(cidr))
    tunnel.look_again(cast("Context", SimpleNamespace()), "j-1", ssm=ssm, cidr=None)
    assert let_in == ([] if ssm else [None])


@pytest.mark.parametrize("fails", ["find_primary", "_let_in"])
def test_an_aws_that_does_not_answer_is_no_end(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def fail(*_: object) -> None:
        raise FruitsError("no network")

    said: list[str] = []
    for name in ("find_primary", "_let_in"):
        monkeypatch.setattr(tunnel, name, fail if name == fails else lambda *_: {})
    tunnel.look_again(cast("Context", SimpleNamespace(say=said.append)), "j-1", ssm=False, cidr=None)
    (line,) = said
    assert line.endswith("the tries go on: no network")


@contextmanager
def listening(family: int, address: str, port: int) -> Iterator[None]:
    with socket.socket(family) as other:
        other.bind((address, port))
        other.listen()
        yield


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")],  # noqa: S104 - a test
)
def test_a_taken_port_is_refused_before_anything_starts(start: Start, port: int, family: int, address: str) -> None:
    forward = start("PORT - 0")
    with listening(family, address, port):
        end, said = keep(forward)
    assert end.startswith(f"1 port {port} of this machine is taken")
    assert f"lsof -i :{port}" in end
    assert said == []
    check_port(port)


def test_a_look_at_the_port_is_no_connection(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        server.setblocking(False)
        assert is_taken(port)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_ctrl_c_ends_the_program_too(start: Start, port: int) -> None:
    def press(line: str) -> None:
        assert line.startswith("Open")
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        keep_open(start("PORT - stay"), say=press, look=look_nowhere)
    assert not is_taken(port)


def test_a_program_that_does_not_listen_is_killed(start: Start, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_PATIENCE", 0.1)
    deaf = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        process.stdout.readline()
        forwarding._end(process)
        assert process.returncode == -signal.SIGKILL
