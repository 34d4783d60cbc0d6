"""The process of the command: its outputs, its signals, its exit codes, and what a person is told at its end."""

import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import click

from fruits.errors import FruitsError, describe_exception
from fruits.redaction import redact_secrets
from fruits_cli.streams import open_outputs

# They change the meaning of other people's code: warnings that raise, assertions and docstrings that are gone.
_MEDDLING = {"PYTHONWARNINGS", "PYTHONOPTIMIZE"}
_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal is gone"}


def tell(sentence: str) -> None:
    """Write a sentence, without secrets, to the standard output."""
    click.echo(redact_secrets(f"fruits: {sentence}"))


def complain(sentence: str) -> None:
    """Write a sentence, without secrets, to the standard error."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()  # a progress bar that waits there would be shown after the sentence
    click.echo(redact_secrets(f"fruits: {sentence}"), err=True)


def run_command(command: click.Command) -> None:
    """Run a command line.

    Exit 0, 1 for a failure, 2 for wrong usage, 128 + its number for a signal: 129 for a terminal that is gone, 130
    for Ctrl-C, 143 for SIGTERM.
    """
    if os.environ.keys() & _MEDDLING:
        environ = {name: value for name, value in os.environ.items() if name not in _MEDDLING}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - this very program
    open_outputs()
    for number in _STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(redact_secrets(said.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        sys.exit(130)
    except FruitsError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except Exception as error:  # whatever it is, a person reads a sentence
        complain(f"{describe_exception(error)}{_keep_trace(error)}")
        sys.exit(1)


def _end(number: int, _: FrameType | None) -> None:
    """Leave through every `finally`: the kernel and Spark are stopped on the way."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes away may say so twice
    # A progress bar ends without a line break.
    said = ("\n" if os.isatty(2) else "") + f"fruits: {_STOPS[signal.Signals(number)]}\n"
    with suppress(OSError):
        os.write(2, said.encode())  # sys.stderr may be in the middle of a line, and must not be called again
    sys.exit(128 + number)


@contextmanager
def when_stopped(describe: Callable[[], str]) -> Iterator[None]:
    """Say what `describe` returns if the block is stopped by a signal."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        with suppress(Exception):  # the exit code stays that of the signal
            complain(describe())
        raise


def _keep_trace(error: Exception) -> str:
    """Write the traceback into a temporary file, and return the sentence that names it; none if the disk is full."""
    text = redact_secrets("".join(traceback.format_exception(error)))
    with suppress(Exception), tempfile.NamedTemporaryFile("wb", prefix="fruits-", suffix=".log", delete=False) as log:
        log.write(text.encode(errors="backslashreplace"))
        return f" Trace: {log.name}"
    return ""
