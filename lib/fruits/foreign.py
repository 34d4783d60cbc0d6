"""What a folder holds that no run put there: it must not vanish when the folder is replaced."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fruits import folders
from fruits.errors import UsageError

# Made by the system in any folder; the last but one are stand-ins for folders that Hadoop leaves in S3.
_LITTER = re.compile(
    r"(.*/)?(\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*|[^/]+_\$folder\$)|(.*/)?@eaDir/.*", re.DOTALL | re.IGNORECASE
)


def list_foreign(
    folder: Path, *, names: Collection[str], patterns: re.Pattern[str] | None = None, kept: Collection[str] = ()
) -> list[str]:
    """Return the names of what a folder holds besides files of these names, sorted; litter of the system left out.

    Links count as files, and empty folders count too.
    """
    parents = {f"{parent}/" for name in names for parent in PurePosixPath(name).parents[:-1]}

    def is_known(name: str) -> bool:
        head, _, last = name.rpartition("/")
        checked = re.fullmatch(r"\.(.+)\.crc", last, re.DOTALL)  # Hadoop's checksum of the file beside it
        return bool(
            name in names
            or name in parents
            or (patterns and patterns.fullmatch(name))
            or _LITTER.fullmatch(name)
            or folders.LEFTOVERS.fullmatch(last)
            or (checked and is_known(f"{head}/{checked[1]}" if head else checked[1]))
        )

    entries = _list_entries(folder)
    return sorted(name for name in entries if name.split("/")[0] not in kept and not is_known(name))


def refuse_foreign(folder: Path, foreign: list[str]) -> None:
    """Refuse to replace a folder that holds foreign files.

    Raises
    ------
    UsageError
        Naming the first few of them.
    """
    if foreign:
        shown = ", ".join(map(repr, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        raise UsageError(
            f"{folder} is replaced as a whole, and holds {len(foreign)} files or folders that no run put there: "
            f"{shown}. Move them elsewhere, or name another folder."
        )


@contextmanager
def replaced_folder(folder: Path, *, names: Collection[str]) -> Iterator[Path]:
    """Like `folders.replaced_folder`, for a folder that holds nothing but files of these names.

    Raises
    ------
    UsageError
        If it holds others, before the block or after it; it stays as it is.
    """
    refuse_foreign(folder, list_foreign(folder, names=names))
    with folders.replaced_folder(folder) as draft:
        yield draft
        refuse_foreign(folder, list_foreign(folder, names=names))


def _list_entries(folder: Path) -> Iterator[str]:
    """Yield the name of each file and link below a folder, and of each empty or unreadable folder, with a slash."""
    if folders.is_remote(folder):
        yield from folders.list_files(folder)
        return
    unread: list[str] = []

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) and os.path.lexists(error.filename):
            unread.append(error.filename)

    for parent, below, files in os.walk(folder, onerror=note):
        here = Path(parent)
        links = [name for name in below if (here / name).is_symlink()]
        for name in (*files, *links):
            yield (here / name).relative_to(folder).as_posix()
        if not below and not files and here != folder:
            unread.append(parent)
    yield from (f"{Path(name).relative_to(folder).as_posix()}/" for name in unread)
