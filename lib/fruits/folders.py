"""The only module that knows a local path from an `s3://` one.

Both are given as `Path`: a remote one has the same methods, and `remote` does the rest.
"""

import functools
import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from fruits import s3
from fruits.errors import FruitsError, UsageError
from fruits.exchange import put_in_place

REMOTE_SCHEMES = ("s3://", "s3a://", "s3n://")
# What a run that died may leave beside the files and folders it was about to put in place: see `_mark`.
LEFTOVERS = re.compile(r"\..+\.fruits-[0-9a-f]{16}(\.draft|\.old)?")


def is_remote(location: str | Path) -> bool:
    """Tell whether a location lies in an object store."""
    return str(location).lower().startswith(REMOTE_SCHEMES)


def resolve(location: str, *, base: Path | None) -> Path:
    """Make a location absolute; a relative one starts at `base`.

    Raises
    ------
    UsageError
        For a location that is neither a local folder nor one of S3, and for a relative one without a base.
    """
    if "\0" in location:
        raise UsageError(f"{location!r} holds a NUL, which no folder's name can; name a local folder.")
    if is_remote(location):
        bucket, _, key = location.partition("://")[2].rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{location} names no bucket; allowed: s3://BUCKET/folder.")
        return cast("Path", s3.open_remote(f"s3://{bucket}/{key}"))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", location):
        raise UsageError(f"{location} is no folder on this machine; name a local folder, or one of S3.")
    try:
        path = Path(location).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{location} names a user who has no home folder; name a local folder.") from error
    if base is None and not path.is_absolute():
        raise UsageError(
            f"{location} is relative, and no repository is here; name s3://BUCKET/... or an absolute path."
        )
    # Not resolve(): a linked folder keeps the name that its user gave it.
    return Path(os.path.normpath((base or Path()) / path))


def open_input(file: str | Path) -> Any:
    """Return what pyarrow reads a file from, by its name; a remote one by ranges."""
    return s3.open_remote(str(file)).open("rb") if is_remote(file) else file


def open_whole(file: Path) -> io.BufferedReader:
    """Open a file to be read from its beginning to its end; a remote one in large pieces."""
    return cast("io.BufferedReader", s3.open_whole(file)) if is_remote(file) else file.open("rb")


def open_output(file: Path) -> IO[bytes]:
    """Open a new file to be written, in a folder that need not be there."""
    if not is_remote(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("wb")


def is_there(place: Path) -> bool:
    """Tell whether anything has this name: a file, a folder, or a link that leads nowhere."""
    return place.exists() if is_remote(place) else os.path.lexists(place)


def list_files(folder: Path) -> list[str]:
    """Return the names of all files below a folder, relative to it, sorted."""
    if is_remote(folder):
        return sorted(name for name, *_ in s3.list_objects(folder))
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def remove_folder(folder: Path) -> None:
    """Remove a folder and all it holds."""
    (s3.remove_folder if is_remote(folder) else shutil.rmtree)(folder)


def remove_checksums(folder: Path) -> None:
    """Remove Hadoop's `.crc` files from a local folder: readers that take every file there for Parquet fail on them."""
    if not is_remote(folder):
        for file in folder.rglob(".*.crc"):
            file.unlink()


def _mark(name: str) -> str:
    """Make a name beside `name` that nobody else writes, so that `fruits clean` may remove what bears it."""
    return f".{name}.fruits-{uuid.uuid4().hex[:16]}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one, never a part."""
    if is_remote(path):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_mark(path.name))
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replaced_folder(final: Path, *, last: str | None = None) -> Iterator[Path]:
    """Yield an empty draft folder that takes the place of `final` if the block succeeds.

    The old folder stays readable until the new one is whole; after an error it is still there
    and the draft is gone.

    Parameters
    ----------
    last
        The file that says that the folder is whole; only S3, where nothing can be renamed, needs to know it:
        see `s3.replaced_folder`.
    """
    mark = _mark(final.name)
    draft, old = (final.with_name(f"{mark}.{part}") for part in ("draft", "old"))
    if is_remote(final):
        with s3.replaced_folder(final, draft, last=last):
            yield draft
        return
    final.parent.mkdir(parents=True, exist_ok=True)
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


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """Like `replaced_folder`, with a draft on this machine, for what writes local files only."""
    if not is_remote(final):
        with replaced_folder(final) as draft:
            yield draft
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as draft:
        yield Path(draft)
        s3.upload_folder(Path(draft), final, names=list_files(Path(draft)))


def fetch_folder(folder: Path) -> Path:
    """Return a local folder of the same files: itself, or a copy in the user's cache, told by names and sizes."""
    if not is_remote(folder):
        return folder
    local = _cache() / folder.name
    files = {name: length for name, length, *_ in s3.list_objects(folder)}
    if any(not (local / name).is_file() or (local / name).stat().st_size != files[name] for name in files):
        with replaced_folder(local) as draft:
            for name in files:
                write_bytes(draft / name, (folder / name).read_bytes())
    return local


def fetch_file(file: Path) -> Path:
    """Return a local file of the same content: itself, or a copy made just now; neither need be there.

    Raises
    ------
    FruitsError
        If it lies in S3, which refuses it or does not answer.
    """
    if not is_remote(file):
        return file
    # Files of the same name in other places are others, and another process may be at work with their copies.
    local = _cache() / "files" / hashlib.sha256(str(file).encode()).hexdigest()[:16] / (file.name or "bucket")
    with s3.explain_refusal(file, doing="read"):
        # is_file() takes every refusal for a no; this one says which.
        if s3.has_objects(file.parent) and file.is_file():
            write_bytes(local, file.read_bytes())
        else:
            local.unlink(missing_ok=True)
    return local


@functools.cache
def _cache() -> Path:
    """Return where copies are kept; the drivers of a cluster run as a user who has no home to write to."""
    if home := find_home():
        return home / ".cache" / "fruits"
    # A new one for each process: in a folder for all, somebody else might put a file there first.
    return Path(tempfile.mkdtemp(prefix="fruits-"))


def find_home() -> Path | None:
    """Return the user's home, if there is one that can be written to."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where none is known, this leaves `~`
    return home if home.is_absolute() and os.access(home, os.W_OK) else None


def check_listable(folder: Path) -> None:
    """Refuse a remote folder that cannot be listed; a local one tells when it is.

    Raises
    ------
    FruitsError
        Naming the folder, what was refused and what to do.
    """
    if is_remote(folder):
        s3.check_listable(folder)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before any work is lost on it.

    Raises
    ------
    FruitsError
        Naming the folder and what the system said.
    """
    if is_remote(folder):
        s3.check_writable(folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / _mark("probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FruitsError(
            f"{folder} cannot be written ({error.strerror}); choose another folder or change its rights."
        ) from error
