"""Network namespaces: what gives a machine that is not there a network, and a loopback, of its own."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def run_ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


def add_namespace(space: str) -> None:
    run_ip("netns", "add", space)
    run_ip("-n", space, "link", "set", "lo", "up")


def start_inside(
    space: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a namespace, or here if its name is empty; it works where its log is, which begins anew."""
    inside = ["ip", "netns", "exec", space] if space else []
    with log.open("wb") as output:
        return subprocess.Popen(
            [*inside, *command],
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def set_cable(space: str, *, plugged: bool) -> None:
    """Pull the cable of a machine, so that nobody is told, or put it back."""
    run_ip("-n", space, "link", "set", "eth0", "up" if plugged else "down")


def remove_namespaces(spaces: Iterable[str]) -> None:
    for space in filter(None, spaces):
        with suppress(OSError, subprocess.CalledProcessError):
            run_ip("netns", "delete", space)
