"""Who works in a folder, told by locks that end with the process that holds them. Local folders only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fruits.errors import FruitsError

_IN_USE = ".in-use"
# Kept open for the life of the process: the lock ends with it, however it ends.
_held: dict[Path, int] = {}


def hold_folder(folder: Path) -> None:
    """Say that this process works in a folder, until it ends; waits while `fruits clean` is at work there.

    Raises
    ------
    FruitsError
        If the folder or its lock cannot be made or opened.
    """
    if folder not in _held:
        lock = _open_lock(folder)
        _lock(lock, fcntl.LOCK_SH, folder=folder)
        _held[folder] = lock


@contextmanager
def alone_in_folder(folder: Path) -> Iterator[None]:
    """Keep others from beginning to work in a folder during the block.

    Raises
    ------
    FruitsError
        If a process that lives works in it, or its lock cannot be opened.
    """
    lock = _open_lock(folder)
    try:
        _lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, folder=folder)
        yield
    finally:
        os.close(lock)


def _open_lock(folder: Path) -> int:
    """Open the lock of a folder for reading: that is right enough to lock it, and all that a second user has."""
    file = folder / _IN_USE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # Without O_CREAT: in a sticky folder Linux refuses that on files of others (fs.protected_regular).
            return os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return os.open(file, os.O_RDONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise FruitsError(
            f"{file} cannot be opened ({error.strerror}); make it readable, or choose another folder."
        ) from error


def _lock(lock: int, kind: int, *, folder: Path) -> None:
    try:
        fcntl.flock(lock, kind)
    except BlockingIOError as error:
        raise FruitsError(f"a run is at work in {folder}; clean up when it has ended.") from error
    except OSError as error:
        raise FruitsError(
            f"{folder / _IN_USE} cannot be locked ({error.strerror}); choose a folder on a local disk."
        ) from error
