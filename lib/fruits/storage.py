"""The only module that knows a local path from an `s3://` one."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fruits.errors import FruitsError, UsageError
from fruits.exchange import put_in_place

REMOTE_SCHEMES = ("s3://", "s3a://", "s3n://")
# What a run that died may leave beside the files and folders it was about to put in place: see `_mark`.
LEFTOVERS = re.compile(r"\..+\.fruits-[0-9a-f]{16}(\.draft|\.old)?")


def is_remote(location: str) -> bool:
    """Tell whether a location lies in an object store."""
    return location.lower().startswith(REMOTE_SCHEMES)


def resolve(location: str, *, base: Path) -> Path:
    """Make a location absolute; a relative one starts at `base`.

    Raises
    ------
    UsageError
        For an object store: this version reads and writes local folders only.
    """
    if is_remote(location):
        raise UsageError(
            f"{location} lies in an object store, which this version cannot read or write yet; "
            "name a local folder (copy the data with `aws s3 sync` first)."
        )
    if "\0" in location:
        raise UsageError(f"{location!r} holds a NUL, which no folder's name can; name a local folder.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", location):
        raise UsageError(f"{location} is no folder on this machine; name a local folder.")
    try:
        path = Path(location).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{location} names a user who has no home folder; name a local folder.") from error
    # Not resolve(): a linked folder keeps the name that its user gave it.
    return Path(os.path.normpath(base / path))


def escape_glob(path: Path) -> str:
    """Spell a path for Spark's readers, which take `*?[]{}` in it for a pattern."""
    escaped = re.sub(r"([*?\[\]{}\\])", r"\\\1", str(path))
    return escaped.replace(",", "?")  # a list of paths to some of them, whatever is put before it


def _mark(name: str) -> str:
    """Make a name beside `name` that nobody else writes, so that `fruits clean` may remove what bears it."""
    return f".{name}.fruits-{uuid.uuid4().hex[:16]}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_mark(path.name))
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replaced_folder(final: Path) -> Iterator[Path]:
    """Yield an empty draft folder that takes the place of `final` if the block succeeds.

    The old folder stays readable until the new one is whole; after an error it is still there
    and the draft is gone.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    mark = _mark(final.name)
    draft, old = (final.with_name(f"{mark}.{part}") for part in ("draft", "old"))
    draft.mkdir()
    try:
        yield draft
        put_in_place(draft, final, old)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(final):
            old.rename(final)
        raise
    finally:
        for folder in (draft, old):
            if folder.is_symlink() or folder.is_file():
                folder.unlink()
            shutil.rmtree(folder, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before any work is lost on it.

    Raises
    ------
    FruitsError
        Naming the folder and what the system said.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / _mark("probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FruitsError(
            f"{folder} cannot be written ({error.strerror}); choose another folder or change its rights."
        ) from error
