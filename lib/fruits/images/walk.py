"""A folder and every folder below it, local or in S3: which files are images, and why the others are ignored."""

import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from fruits.errors import UsageError
from fruits.folders import as_folder
from fruits.images.formats import HEAD_BYTES, Why, explain_ignored_file, explain_ignored_name, has_suffix
from fruits.s3 import S3Folder, S3Object

File = os.DirEntry[str] | Path | S3Object
_SPELT_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")
# What an int64 holds: nanoseconds from 1677 to 2262.
_TIMES = (-(2**63), 2**63 - 1)
_SPECIAL = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def spell_name(name: str) -> str:
    r"""Write a name that is not UTF-8 so that Arrow, Parquet and CSV can hold it: its odd bytes as \udc80 to \udcff.

    In these names, and in those that look like one, backslashes are doubled, so that two names never become one; all
    others stay as they are. The result may be the name of another file: `is_spelt` tells of such names.
    """
    spelt = name.encode("utf-8", "backslashreplace").decode()
    if not is_spelt(spelt):
        return name
    return name.replace("\\", r"\\").encode("utf-8", "backslashreplace").decode()


def is_spelt(name: str) -> bool:
    """Tell whether a name may have been written by `spell_name`: no file can be read by it."""
    return bool(_SPELT_BYTE.search(name))


@dataclass(frozen=True)
class Found:
    """A folder and its files by name; `below` is its path, empty for the folder that was walked."""

    below: str
    files: dict[str, File] = field(default_factory=dict)
    ignored: dict[str, Why] = field(default_factory=dict)
    label: str = ""  # of its images; empty for a folder whose images have none
    split: str = ""

    @cached_property
    def images(self) -> dict[str, File]:
        """The files that are not ignored."""
        return {name: file for name, file in self.files.items() if name not in self.ignored}


def join(*parts: str) -> str:
    """Return the path of these parts, of which some may be empty."""
    return "/".join(filter(None, parts))


def walk(root: Path) -> Iterable[Found]:
    """Find `root` and every folder below it."""
    folder = as_folder(root)
    return _walk_objects(folder) if isinstance(folder, S3Folder) else _walk_folders(root)


def _walk_objects(root: S3Folder) -> Iterable[Found]:
    """Group a listing by folders; look into files without a suffix, all at once."""
    objects = list(root.list_objects())
    unclear = [file.name for file in objects if file.length and not has_suffix(file.name.rpartition("/")[2])]
    heads = root.read_heads(unclear, length=HEAD_BYTES)
    folders: dict[str, Found] = {}
    for file in objects:
        parts = file.name.split("/")
        # A folder that is left out is one entry of its parent.
        place = next((place for place, part in enumerate(parts) if explain_ignored_name(part)), len(parts) - 1)
        below, name = "/".join(parts[:place]), parts[place]
        found = folders.setdefault(below, Found(below))
        found.files[name] = file
        head = partial(bytes, heads.get(file.name, b""))
        if why := explain_ignored_name(name) or explain_ignored_file(name, read_head=head):
            found.ignored[name] = why
    return folders.values()


def _walk_folders(root: Path) -> Iterator[Found]:
    """Follow linked folders once."""
    seen = set()
    waiting = deque([""])
    while waiting:
        below = waiting.popleft()
        if (real := os.path.realpath(root / below)) in seen:
            continue
        seen.add(real)
        found = Found(below)
        for entry in _scan(root / below):
            if why := explain_ignored_name(entry.name):
                found.ignored[entry.name] = why
            elif entry.is_dir(follow_symlinks=False):
                waiting.appendleft(join(below, entry.name))
            elif entry.is_symlink() and as_folder(Path(entry.path)).exists():
                waiting.append(join(below, entry.name))  # after all real folders: a class keeps its own name
            else:
                found.files[entry.name] = entry
                if why := _explain_ignored(entry):
                    found.ignored[entry.name] = why
        yield found


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{folder} cannot be listed ({error.strerror}); name a folder that is there.") from error
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be listed ({error.strerror}); make it readable, or move it elsewhere."
        ) from error


def _explain_ignored(file: "os.DirEntry[str]") -> Why | None:
    """Look at the kind of file first: opening a pipe would wait for ever."""
    if not file.is_file(follow_symlinks=False):
        with suppress(OSError):
            if kind := _SPECIAL.get(stat.S_IFMT(file.stat().st_mode)):
                return kind, f"a {kind}, not a file"
    return explain_ignored_file(file.name, read_head=partial(_read_head, file.path))


def _read_head(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.read(HEAD_BYTES)


def look_at(file: File) -> tuple[int, int, str]:
    """Return length, time of modification and digest, as far as they are known."""
    if isinstance(file, S3Object):
        return file.length, file.modified, file.tag
    try:
        status = file.stat()
    except OSError:
        return 0, 0, ""
    return status.st_size, min(max(status.st_mtime_ns, _TIMES[0]), _TIMES[1]), ""
