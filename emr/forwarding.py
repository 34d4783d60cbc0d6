"""Keeps a port forwarded: says when it is open, opens it again after a cut, ends when it never was open."""

import errno
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGINT, SIGKILL, SIGTERM
from typing import IO

from fruits.errors import FruitsError

# Seconds before each new try. They outlast a router's restart and a change of network; ten minutes later the cluster
# is more likely gone than the network, and goes on costing money if it is not: the person has to look.
PAUSES = (1, 2, 4, 8, 15, *(30,) * 18)
# Seconds after which an open tunnel is worth all tries again: one that falls at once must not be tried for ever.
STEADY = 60.0
_LOOK = 0.1
_PATIENCE = 3.0


@dataclass(frozen=True, kw_only=True)
class Forward:
    """A program that listens on a port of this machine while it runs.

    Parameters
    ----------
    url
        Where a browser finds what is behind the port.
    zero_is_wanted
        Whether exit code 0 says that somebody ended it on purpose.
    refusals
        What the program says on standard error when another try cannot help, with the sentence to end with.
    advice
        What to do when it never opens, or not again, for another reason.
    pauses
        Seconds before each try after a cut; as many tries in a row are made as there are pauses.
    steady
        Seconds that the port must have been open for the tries to be counted from the first again.
    """

    command: Sequence[str]
    port: int
    url: str
    zero_is_wanted: bool
    refusals: Mapping[str, str]
    advice: str
    pauses: Sequence[float] = PAUSES
    steady: float = STEADY


@dataclass(frozen=True)
class _Ended:
    """How the program ended, what it said, whether and for how many seconds the port was open."""

    code: int
    words: str
    was_open: bool
    seconds: float


def check_port(port: int) -> None:
    """Refuse to start while another program listens on the port.

    Raises
    ------
    FruitsError
        With the command that names that program.
    """
    if is_taken(port):
        raise FruitsError(
            f"port {port} of this machine is taken, perhaps by another `connect`; allowed: a free one, since the "
            f"tunnel begins there. See who has it (lsof -i :{port}), end that, and repeat."
        )


def is_taken(port: int) -> bool:
    """Look whether a program listens on a port of the loopback, without disturbing it by a connection.

    Both protocols count: ssh is content with one of them, and a browser may ask the other.
    """
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # So that neither old connections nor this look are in anybody's way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def keep_open(forward: Forward, *, say: Callable[[str], None], look: Callable[[], None]) -> int:
    """Run the program until it is ended on purpose, and again after each cut.

    Parameters
    ----------
    look
        Called once a cut, after the first try that failed: mends what can be mended, raises if no try can help.

    Returns
    -------
    int
        0, when the program was ended on purpose.

    Raises
    ------
    FruitsError
        If the port is taken, never opens, is refused, or does not open again; with what to do.
    """
    left, before = list(forward.pauses), None
    while True:
        check_port(forward.port)
        ended = _run(forward, say=say, again=before is not None)
        if ended.was_open and ended.code == 0 and forward.zero_is_wanted:
            return 0
        _check_hope(forward, ended, first=before is None)
        if ended.seconds >= forward.steady:
            left = list(forward.pauses)
        if not left:
            raise FruitsError(
                f"the tunnel was cut and did not come back in {len(forward.pauses)} tries. {forward.advice}"
            )
        _say_cut(forward, ended, pause=left[0], say=say)
        if before and before.was_open and not ended.was_open:
            look()
        before = ended
        time.sleep(left.pop(0))


def _run(forward: Forward, *, say: Callable[[str], None], again: bool) -> _Ended:
    """Run the program once, to its end; Ctrl-C ends it and is passed on."""
    said: list[str] = []
    opened = None
    process = subprocess.Popen(forward.command, stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        listener = threading.Thread(target=_pass_on, args=(process.stderr, said), daemon=True)
        listener.start()
        while process.poll() is None and opened is None:
            if is_taken(forward.port):
                opened = time.monotonic()
                say(f"Open{' again' if again else ''}: {forward.url} (until you press Ctrl-C)")
            else:
                time.sleep(_LOOK)
        code = process.wait()
        seconds = 0.0 if opened is None else time.monotonic() - opened
    finally:
        _end(process)
    # A program that the program left behind may hold the pipe for ever.
    listener.join(timeout=_PATIENCE)
    return _Ended(code, "".join(said), opened is not None, seconds)


def _pass_on(stream: IO[str] | None, said: list[str]) -> None:
    for line in stream or ():
        sys.stderr.write(line)
        sys.stderr.flush()
        said.append(line)
    if stream:
        stream.close()


def _end(process: subprocess.Popen[str]) -> None:
    """End the program as Ctrl-C does, which a terminal has told it already, and by force if it does not listen."""
    for number in (SIGINT, SIGTERM, SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_PATIENCE)


def _check_hope(forward: Forward, ended: _Ended, *, first: bool) -> None:
    """Raise where another try cannot help: it was refused, or it never was open."""
    if ended.was_open:
        return
    for words, sentence in forward.refusals.items():
        if words in ended.words:
            raise FruitsError(sentence)
    if first:
        raise FruitsError(f"no tunnel: {_describe(forward, ended)} before it was open. {forward.advice}")


def _say_cut(forward: Forward, ended: _Ended, *, pause: float, say: Callable[[str], None]) -> None:
    now = time.strftime("%H:%M:%S")
    what = f"The tunnel was cut after {ended.seconds:.0f} s" if ended.was_open else "Not open again yet"
    say(f"{now} {what}: {_describe(forward, ended)}; trying again in {pause:g} s. Ctrl-C ends it.")


def _describe(forward: Forward, ended: _Ended) -> str:
    how = f"signal {-ended.code}" if ended.code < 0 else f"code {ended.code}"
    return f"{forward.command[0]} ended with {how}"
