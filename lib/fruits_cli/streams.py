"""Standard output and error: nothing that happens to them fails a command; progress bars for terminals only."""

import io
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from fruits.progress import BAR_COLUMNS

_BAR = re.compile(r"\s*(\d+)%(\|.*\|).*")


class _Output(io.FileIO):
    """A file descriptor that drops what cannot be written: the reader is gone, the disk is full."""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        try:
            while (written := super().write(content)) is None:
                # A program that shares the terminal has made it non-blocking.
                select.select([], [self], [])
        except OSError:
            return len(content)
        return written


def open_outputs() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams whose use never raises.

    A character that their encoding lacks is written as its escape. Descriptors that are closed lead to the null
    device: otherwise the next file that is opened would receive what child processes print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
        output = io.BufferedWriter(_Output(number, "w", closefd=False))
        stream = io.TextIOWrapper(output, encoding=encoding, errors="backslashreplace", line_buffering=True)
        setattr(sys, name, stream)


@contextmanager
def without_stderr() -> Iterator[None]:
    """Drop what libraries in C write to the standard error in the block."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class ProgressWriter:
    """Writes text with tqdm's bars to a stream: as it is to a terminal, elsewhere a line each tenth of the way."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""
        self._tenth = 0

    @property
    def encoding(self) -> str:
        """The stream's: tqdm asks for it."""
        return self._stream.encoding

    def write(self, text: str) -> None:
        """Write a piece of text; a bar is a line that starts with a carriage return."""
        if draws_bars(self._stream):
            self._stream.write(text)
            return
        *lines, self._rest = re.split("[\r\n]", self._rest + text)
        for line in filter(str.strip, lines):
            if bar := _BAR.fullmatch(line):
                tenth, before = int(bar[1]) // 10, self._tenth
                self._tenth = tenth
                if tenth <= before:
                    continue
                line = line.replace(bar[2], " ").rstrip()
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def draws_bars(stream: TextIO) -> bool:
    """Tell whether a line of a stream can be overwritten: on a terminal that is wide enough and knows the signs."""
    try:
        wide = stream.isatty() and (os.get_terminal_size(stream.fileno()).columns or BAR_COLUMNS + 1) > BAR_COLUMNS
    except OSError:
        return False
    return wide and os.environ.get("TERM") not in {None, "", "dumb"} and stream.encoding.lower().startswith("utf")
