"""Network namespaces: what gives a machine that is not there a network, and a loopback, of its own."""

import subprocess
from collections.abc import Iterable
from contextlib import suppress


def run_ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


def add_namespace(space: str) -> None:
    run_ip("netns", "add", space)
    run_ip("-n", space, "link", "set", "lo", "up")


def set_cable(space: str, *, plugged: bool) -> None:
    """Pull the cable of a machine, so that nobody is told, or put it back."""
    run_ip("-n", space, "link", "set", "eth0", "up" if plugged else "down")


def remove_namespaces(spaces: Iterable[str]) -> None:
    for space in filter(None, spaces):
        with suppress(OSError, subprocess.CalledProcessError):
            run_ip("netns", "delete", space)
