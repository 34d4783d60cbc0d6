"""Folders on this machine: written so that a kill at any moment leaves the old or the new content, and locked."""

import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fruits.errors import FruitsError

# What a run has begun to write. A run that was killed leaves it, and `fruits clean` removes it.
LEFTOVERS = re.compile(r"\..+\.fruits-[0-9a-f]{16}(\.draft|\.old)?")
_LOCK = ".in-use"
# Kept open while the process lives: a lock ends with its process, however that ends.
_held: dict[Path, int] = {}
# Every attempt after the first means that another process has put its folder there meanwhile.
_ATTEMPTS = 1000
_COPIED = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}


def make_draft_name(name: str) -> str:
    """Return a new name that `LEFTOVERS` matches, for a draft beside the file or folder `name`."""
    return f".{name}.fruits-{uuid.uuid4().hex[:16]}"


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine; it need not exist. `atomic`: it is replaced in one step."""

    path: Path
    atomic: ClassVar[bool] = True

    def exists(self) -> bool:
        """Tell whether the folder is there."""
        return os.path.isdir(self.path)  # noqa: PTH112 - Path.is_dir raises where it may not look

    def identify(self) -> list[Hashable]:
        """Return device and inode of the folder and of each one above: paths differ by links, mounts and case."""
        real = Path(os.path.realpath(self.path))
        return [_identify(folder) for folder in (real, *real.parents)]

    def list_entries(self) -> list[str]:
        """Return the relative names of all files and links, and, with a slash, of empty or unreadable folders."""
        names: list[Path] = []
        bare: list[Path] = []

        def note(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError) and os.path.lexists(error.filename):
                bare.append(Path(error.filename))

        for parent, below, files in os.walk(self.path, onerror=note):
            here = Path(parent)
            names += [here / name for name in files]
            names += [here / name for name in below if (here / name).is_symlink()]
            if not below and not files and here != self.path:
                bare.append(here)
        named = [file.relative_to(self.path).as_posix() for file in names]
        return sorted([*named, *(f"{folder.relative_to(self.path).as_posix()}/" for folder in bare)])

    def list_files(self) -> list[str]:
        """Return the relative names of all files, sorted."""
        return [name for name in self.list_entries() if (self.path / name).is_file()]

    def list_folders(self) -> list[str]:
        """Return the names of the folders in the folder, sorted; none if it cannot be listed."""
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            return []

    def read_tagged(self, name: str) -> tuple[bytes, str]:
        """Return the content of a file, and no tag: only S3 has tags."""
        return (self.path / name).read_bytes(), ""

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file: readers see the old one or the whole new one."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(make_draft_name(file.name))
        try:
            draft.write_bytes(content)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """Yield an empty draft folder that takes the place of this one if the block succeeds.

        Until then this one stays readable. After an error it is still there, and the draft is removed.
        """
        name = make_draft_name(self.path.name)
        draft, old = (self.path.with_name(f"{name}.{part}") for part in ("draft", "old"))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        try:
            yield draft
            put_in_place(draft, self.path, old)
        except BaseException:
            if os.path.lexists(old) and not os.path.lexists(self.path):
                old.rename(self.path)
            raise
        finally:
            for folder in (draft, old):
                if folder.is_symlink() or folder.is_file():
                    folder.unlink()
                shutil.rmtree(folder, ignore_errors=True)

    def staged(self) -> AbstractContextManager[Path]:
        """Like `replaced`, but in S3 too the draft is local: for programs that write local files only."""
        return self.replaced()

    def remove(self) -> None:
        """Remove the folder and all it holds."""
        shutil.rmtree(self.path)

    def copy_to(self, target: Path) -> None:
        """Copy the folder, links as links, without drafts, pipes and sockets."""

        def skip(folder: str, names: list[str]) -> list[str]:
            modes = {name: stat.S_IFMT((Path(folder) / name).lstat().st_mode) for name in names}
            return [name for name in names if modes[name] not in _COPIED or LEFTOVERS.fullmatch(name)]

        if self.path.is_dir() and not self.path.is_symlink():
            shutil.copytree(self.path, target, symlinks=True, ignore=skip)
        elif os.path.lexists(self.path):
            shutil.copy2(self.path, target, follow_symlinks=False)

    def check_listable(self) -> None:
        """Do nothing: the error of a local folder is clear when it is listed."""

    def check_writable(self) -> None:
        """Refuse, by a FruitsError, a folder that cannot be made or written to, before any work is lost."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / make_draft_name("probe")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FruitsError(
                f"{self.path} cannot be written ({error.strerror}); choose another folder or change its rights."
            ) from error

    def hold(self) -> None:
        """Lock the folder for this process until it ends, together with other runs; wait while `fruits clean` runs."""
        if self.path not in _held:
            _held[self.path] = self._lock(fcntl.LOCK_SH)

    @contextmanager
    def held_alone(self) -> Iterator[None]:
        """Keep other processes from working in the folder during the block; refuse if a run is at work in it."""
        lock = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self, kind: int) -> int:
        file = self.path / _LOCK
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                # For reading, which is all that a second user may do. Without O_CREAT: Linux refuses it on files of
                # others in a sticky folder (fs.protected_regular).
                lock = os.open(file, os.O_RDONLY)
            except FileNotFoundError:
                lock = os.open(file, os.O_RDONLY | os.O_CREAT, 0o666)
        except OSError as error:
            raise FruitsError(
                f"{file} cannot be opened ({error.strerror}); make it readable, or choose another folder."
            ) from error
        try:
            fcntl.flock(lock, kind)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise FruitsError(f"a run is at work in {self.path}; clean up when it has ended.") from error
            raise FruitsError(f"{file} cannot be locked ({error.strerror}); choose a local disk.") from error
        return lock


def put_in_place(draft: Path, final: Path, old: Path) -> None:
    """Give `draft` the name of `final`, also while other processes do the same."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if not os.path.lexists(final):
                draft.rename(final)
            elif not exchange(draft, final):
                shutil.rmtree(old, ignore_errors=True)
                final.rename(old)
                draft.rename(final)
        except OSError as error:
            another_run = error.errno in {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
            if not another_run or not draft.exists() or attempt == _ATTEMPTS:
                raise
        else:
            return


def exchange(left: Path, right: Path) -> bool:
    """Swap two names atomically, so that a kill leaves no moment without results; False if the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(left), os.fsencode(right)
    here, flag = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux, which is RENAME_SWAP of macOS
    if hasattr(libc, "renameat2"):
        return bool(libc.renameat2(here, names[0], here, names[1], flag) == 0)
    return hasattr(libc, "renamex_np") and bool(libc.renamex_np(*names, flag) == 0)


def _identify(place: Path) -> Hashable:
    try:
        status = place.stat()
    except OSError:  # not there yet
        return (_identify(place.parent), place.name) if place != place.parent else place.name
    return status.st_dev, status.st_ino
