"""Standard output and error that fail, and bars that become plain lines."""

import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits_cli.streams import ProgressWriter, draws_bars

PRINTS = """
import os, sys
from fruits_cli.streams import open_outputs
open_outputs()
for stream in (sys.stdout, sys.stderr):
    stream.write("\\u00e9 \\udcea \\u2588 " + "x" * 100_000 + "\\n")
    stream.flush()
child = os.system("echo child; echo child >&2")
file = open(sys.argv[1], "w")
file.write(f"{file.fileno()} {child}")
"""


def run_prints(place: Path, *, redirect: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sh", "-c", f'exec "$0" -c "$1" "$2" {redirect}', sys.executable, PRINTS, str(place / "done")]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, check=False)


@pytest.mark.parametrize("redirect", ["", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| head -c1"])
def test_what_is_printed_never_fails(tmp_path: Path, redirect: str) -> None:
    done = run_prints(tmp_path, redirect=redirect)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr.decode()
    assert "Exception ignored" not in done.stderr.decode()
    number, child = (tmp_path / "done").read_text().split()
    assert int(number) > 2, "a file took the number of a closed stream"
    # The shell itself says by its exit code that /dev/full takes nothing.
    assert child == "0" or "full" in redirect


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", rb"\xe9 \udcea \u2588 "),
        ("latin-1", b"\xe9 \\udcea \\u2588 "),
        ("utf-8", b"\xc3\xa9 \\udcea \xe2\x96\x88 "),
    ],
)
def test_a_character_that_the_encoding_lacks_is_spelt_out(tmp_path: Path, encoding: str, written: bytes) -> None:
    done = run_prints(tmp_path, redirect="", PYTHONIOENCODING=encoding)
    assert done.stdout.startswith(written)
    assert done.stderr.startswith(written)


def test_a_terminal_that_another_program_made_non_blocking_loses_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([sys.executable, "-c", PRINTS, str(tmp_path / "done")], stdout=writer, stderr=2) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
    assert process.returncode == 0
    assert said.count(b"x") == 100_000


STOPPED_WHILE_WRITING = """
import os, signal
import click
from fruits_cli import process, streams

class Output(streams._Output):
    def write(self, content):
        if content == b"a line\\n":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(content)

streams._Output = Output
process.run_command(click.Command("x", callback=lambda: click.echo("a line", err=True)))
"""


def test_a_signal_in_the_middle_of_a_line_ends_the_command_as_any_other() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED_WHILE_WRITING], capture_output=True, check=False)
    assert done.returncode == 143
    assert b"fruits: terminated\n" in done.stderr
    assert b"reentrant" not in done.stderr


BARS = ["\r  0%|      | 0/40 [00:00<?, ?images/s]", "\r  7%|      | 3/40 [00:01", "<00:09, 3.00 images/s]"]
BARS += [f"\r {n * 10:2d}%|###   | {4 * n}/40 [00:0{n}<00:05, 4.00 images/s]" for n in range(1, 5)]
BARS += ["\r 49%|##| 19/40 [x]", "\r100%|######| 40/40 [00:09<00:00]", "\r100%|######| 40/40 [00:09<00:00]\n", "end\n"]


def test_bars_are_a_plain_line_each_tenth_where_no_terminal_is() -> None:
    stream = io.StringIO()
    writer = ProgressWriter(stream)
    for piece in BARS:
        writer.write(piece)
    assert stream.getvalue().splitlines() == [
        *(f" {n * 10}%  {4 * n}/40 [00:0{n}<00:05, 4.00 images/s]" for n in range(1, 5)),
        "100%  40/40 [00:09<00:00]",
        "end",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.TextIOWrapper]:
    """Open a terminal of 24 x 80."""
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream
    os.close(master)


def test_bars_are_drawn_on_a_terminal(terminal: io.TextIOWrapper) -> None:
    assert draws_bars(terminal)
    assert not draws_bars(io.StringIO())


def test_bars_are_not_drawn_where_they_cannot_be_overwritten(
    terminal: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    termios.tcsetwinsize(terminal.fileno(), (24, 79))
    assert not draws_bars(terminal), "a bar would wrap"
    termios.tcsetwinsize(terminal.fileno(), (0, 0))
    assert draws_bars(terminal), "a terminal that does not tell its size"
    with os.fdopen(os.dup(terminal.fileno()), "w", encoding="ascii") as ascii_stream:
        assert not draws_bars(ascii_stream)
    monkeypatch.setenv("TERM", "dumb")
    assert not draws_bars(terminal)
