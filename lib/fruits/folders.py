"""Locations, made absolute and compared, here and in S3; `as_folder` gives an object that knows how its kind works.

No other module knows a local path from an `s3://` one. Both are passed on as `Path`: a path in S3 has the same methods.
"""

import functools
import hashlib
import os
import re
import tempfile
import unicodedata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from fruits.errors import UsageError
from fruits.local import LocalFolder
from fruits.s3 import S3Folder, explain_refusal, open_path

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_S3_SCHEMES = ("s3://", "s3a://", "s3n://")


def as_folder(path: Path) -> LocalFolder | S3Folder:
    """Return the folder at a path; it need not exist."""
    return S3Folder(path) if _is_in_s3(path) else LocalFolder(path)


def _is_in_s3(location: str | Path) -> bool:
    return str(location).lower().startswith(_S3_SCHEMES)


def resolve(location: str, *, base: Path | None) -> Path:
    """Make a location absolute; a relative one starts at `base`, and is a UsageError without one."""
    if "\0" in location:
        raise UsageError(f"{location!r} holds a NUL, which no folder's name can; name a local folder.")
    if _is_in_s3(location):
        bucket, _, key = location.partition("://")[2].rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"{location} names no bucket; allowed: s3://BUCKET/folder.")
        return cast("Path", open_path(f"s3://{bucket}/{key}"))
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


def relate(left: Path, right: Path) -> str | None:
    """Return how the first folder lies to the second: `is`, `lies inside` or `holds`; None if they are apart."""
    here, there = (as_folder(folder).identify() for folder in (left, right))
    if here[0] == there[0]:
        return "is"
    if there[0] in here:
        return "lies inside"
    return "holds" if here[0] in there else None


def compose(name: str) -> str:
    """Return a name in Unicode's NFC, in which names are compared: file systems store accents in two ways."""
    return unicodedata.normalize("NFC", name)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file, with its folder: readers see the old one or the whole new one."""
    as_folder(file.parent).write_bytes(file.name, content)


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_output(file: Path) -> IO[bytes]:
    """Open a new file for writing, in a folder that need not exist."""
    if not _is_in_s3(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("wb")


def open_parquet(file: str | Path, **options: Any) -> "pq.ParquetFile":
    """Open a Parquet file; one in S3 is read by ranges."""
    import pyarrow.parquet as pq

    if _is_in_s3(file):
        return pq.ParquetFile(open_path(str(file)).open("rb", cache_type="none"), pre_buffer=True, **options)
    return pq.ParquetFile(file, **options)


def write_parquet(table: "pa.Table", stream: IO[bytes]) -> None:
    """Write a Parquet file as Spark would, so that files of both can be read as one table."""
    import pyarrow.parquet as pq

    # Features and scores are floats that look random: neither compression nor dictionaries make them smaller.
    options = {"compression": "NONE", "use_dictionary": ["label", "split"]}
    pq.write_table(table, stream, store_schema=False, write_page_checksum=True, **options)


def fetch_folder(folder: Path) -> Path:
    """Return a local folder of the same files: itself, or a copy in the user's cache, compared by names and sizes."""
    place = as_folder(folder)
    if isinstance(place, LocalFolder):
        return folder
    local = find_cache() / folder.name
    files = {file.name: file.length for file in place.list_objects()}
    if any(not (local / name).is_file() or (local / name).stat().st_size != files[name] for name in files):
        with LocalFolder(local).replaced() as draft:
            place.copy_to(draft)
    return local


def fetch_file(file: Path) -> Path:
    """Return a local file of the same content: itself, or a copy made just now; neither need exist."""
    if not _is_in_s3(file):
        return file
    # Files of the same name in other folders are others, and another process may be using their copies.
    local = find_cache() / "files" / hashlib.sha256(str(file).encode()).hexdigest()[:16] / (file.name or "bucket")
    with explain_refusal(file, doing="read"):
        # is_file() is False for every refusal; the listing says which one.
        if as_folder(file.parent).exists() and file.is_file():
            write_bytes(local, file.read_bytes())
        else:
            local.unlink(missing_ok=True)
    return local


@functools.cache
def find_cache() -> Path:
    """Return where copies are kept; the drivers of a cluster run as a user without a home to write to."""
    if home := find_home():
        return home / ".cache" / "fruits"
    # A new one for each process: in a folder for all, somebody else might put a file there first.
    return Path(tempfile.mkdtemp(prefix="fruits-"))


def find_home() -> Path | None:
    """Return the user's home, if there is one that can be written to."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where none is known, this leaves `~`
    return home if home.is_absolute() and os.access(home, os.W_OK) else None


def escape_pattern(address: str) -> str:
    """Return an address whose every sign means itself to Spark's readers."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", address)


def check_spelling(folder: Path, *, key: str) -> None:
    """Refuse a folder, of the parameter `key`, that reports could not name, or whose files in S3 could not be found."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{key} = {str(folder)!r} is no text in UTF-8; name another folder, or set LC_ALL=C.UTF-8 if it is one."
        ) from error
    if _is_in_s3(folder) and (signs := sorted({*"*?["} & {*str(folder)})):
        # UPath.glob takes those of the folder's own name for a pattern, too.
        raise UsageError(f"{key} = {folder}: names of folders in S3 must hold none of * ? [, not {' '.join(signs)}.")
