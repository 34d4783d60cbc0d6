"""Class folders to one table of images."""

import difflib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from fruits.errors import UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_Folder = tuple[Path, list["os.DirEntry[str]"]]
COLUMNS = ("path", "label", "split", "length", "modified")


def list_images(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """List the images of some classes, whether or not they can be read.

    Parameters
    ----------
    input_dir
        The folder that holds `Training/` and `Test/`.
    split
        `Training` or `Test`.
    classes
        Globs on the name of the folder that holds the image, case-sensitive.

    Returns
    -------
    DataFrame
        One row an image, sorted by path: `path` (str, relative to `input_dir`, with `/`), `label` (str, the
        parent folder), `split` (str), `length` (int64, bytes; 0 where the file cannot be looked at),
        `modified` (int64, nanoseconds since 1970; 0 likewise).

    Raises
    ------
    UsageError
        If the folder is missing, or a glob matches no class that holds images.
    """
    rows = []
    for folder, files in _match_folders(input_dir, split=split, classes=classes):
        parent = folder.relative_to(input_dir).as_posix()
        rows += [(f"{parent}/{file.name}", folder.name, split, *_look_at(file)) for file in files]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"length": "int64", "modified": "int64"}).sort_values("path", ignore_index=True)


def check_classes(input_dir: Path, *, split: str, classes: Sequence[str]) -> None:
    """Refuse a missing folder and a class glob that matches nothing.

    Raises
    ------
    UsageError
        Naming the folder or the globs, and what is there.
    """
    _match_folders(input_dir, split=split, classes=classes)


def _match_folders(input_dir: Path, *, split: str, classes: Sequence[str]) -> list[_Folder]:
    root = input_dir / split
    if not root.is_dir():
        raise UsageError(
            f"there is no folder {root}; input_dir must hold {split}/<class>/<image>. "
            "`fruits fetch MODE` brings Fruits-360."
        )
    folders = [(folder, files) for folder, files in _class_folders(root) if files]
    there = sorted({folder.name for folder, _ in folders})
    for glob in classes:
        if not any(fnmatchcase(name, glob) for name in there):
            near = [name for name in there if fnmatchcase(name.casefold(), glob.casefold())]
            near = near[:3] or difflib.get_close_matches(glob, there, n=3) or there[:3]
            raise UsageError(
                f"classes: {glob!r} matches none of the {len(there)} class folders with images of {root}; "
                f"there are, for example, {', '.join(map(repr, near)) or 'none at all'}."
            )
    return [found for found in folders if any(fnmatchcase(found[0].name, glob) for glob in classes)]


def _class_folders(root: Path) -> Iterator[_Folder]:
    """Yield every folder below `root` with its image files; linked folders are followed once."""
    seen = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        files = []
        for entry in visible:
            if entry.is_dir(follow_symlinks=False):
                waiting.appendleft(folder / entry.name)
            elif entry.is_symlink() and Path(entry.path).is_dir():
                waiting.append(folder / entry.name)  # after all real folders: a class keeps its own name
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                files.append(entry)
        if folder != root:
            yield folder, files


def _look_at(file: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
