"""Keeps a port forwarded by a program: says when it is open, and opens it again after a cut."""

import errno
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from emr.context import SETUP
from fruits.errors import FruitsError

# Tries outlast a router's restart and a change of network. After ten minutes the cluster is more likely gone than the
# network, and if it is not, it costs money: the person has to look.
PAUSE, LIMIT = 3.0, 600.0
_LOOK = 0.1


def check_port(port: int) -> None:
    """Raise FruitsError if another program listens on the port."""
    if is_taken(port):
        raise FruitsError(f"port {port} of this machine is taken; see by what (lsof -i :{port}), end that, and repeat.")


def is_taken(port: int) -> bool:
    """Look whether a program listens on a port of the loopback, IPv4 or IPv6, without a connection to it."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
            # So that connections that have just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
    return False


def keep_open(command: Sequence[str], *, port: int, say: Callable[[str], None], look: Callable[[], None]) -> NoReturn:
    """Run a program that listens on a port, and again after each cut, until Ctrl-C.

    Parameters
    ----------
    look
        Called after each new try that failed; raises if another one cannot help.
    """
    latest = None
    while True:
        check_port(port)
        how, opened = _run(command, port=port, say=say)
        now = time.monotonic()
        latest = now if opened else latest
        if latest is None or now - latest > LIMIT:
            raise FruitsError(f"no tunnel: {how}, why is above. See `{SETUP} status`; if it is alive, `connect` again.")
        what = f"The tunnel was cut after {now - opened:.0f} s" if opened else "Not open again yet"
        say(f"{time.strftime('%H:%M:%S')} {what}: {how}; trying again in {PAUSE:g} s. Ctrl-C ends it.")
        if not opened:
            look()
        time.sleep(PAUSE)


def _run(command: Sequence[str], *, port: int, say: Callable[[str], None]) -> tuple[str, float | None]:
    """Run the program once; return how it ended, and since when the port was open."""
    opened = None
    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None and opened is None:
                if is_taken(port):
                    opened = time.monotonic()
                    say(f"Open: https://localhost:{port} (until you press Ctrl-C)")
                else:
                    time.sleep(_LOOK)
            code = process.wait()
        finally:
            process.terminate()
    return f"{command[0]} ended with {f'signal {-code}' if code < 0 else f'code {code}'}", opened
