"""Who works in a folder, told by locks that end with the process that holds them. Local folders only."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fruits.errors import FruitsError

_IN_USE = ".in-use"
# Kept open for the life of the process: the lock ends with it, however it ends.
_held: dict[Path, IO[Any]] = {}


def hold_folder(folder: Path) -> None:
    """Say that this process works in a folder, until it ends; waits while `fruits clean` is at work there."""
    if folder not in _held:
        folder.mkdir(parents=True, exist_ok=True)
        _held[folder] = (folder / _IN_USE).open("w")
        fcntl.flock(_held[folder], fcntl.LOCK_SH)


@contextmanager
def alone_in_folder(folder: Path) -> Iterator[None]:
    """Keep others from beginning to work in a folder during the block.

    Raises
    ------
    FruitsError
        If a process that lives works in it.
    """
    with (folder / _IN_USE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FruitsError(f"a run is at work in {folder}; clean up when it has ended.") from error
        yield
