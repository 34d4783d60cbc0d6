"""Class folders, or packed shards, to one table of images."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from fruits.errors import UsageError
from fruits.images.classes import match_classes
from fruits.images.packed import list_packed, list_shards

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_Folder = tuple[Path, list["os.DirEntry[str]"]]
COLUMNS = ("path", "label", "split", "length", "modified")


def list_images(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """List the images of some classes, whether or not they can be read.

    Parameters
    ----------
    input_dir
        The folder that holds `Training/` and `Test/`, or the shards that `fruits pack` made of it.
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
    if list_shards(input_dir):
        return _match_packed(input_dir, split=split, classes=classes)
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
    match = _match_packed if list_shards(input_dir) else _match_folders
    match(input_dir, split=split, classes=classes)


def _match_packed(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    images = list_packed(input_dir, split=split)
    asked = match_classes(images["label"], classes, where=f"classes of {split} packed in {input_dir}")
    return images[images["label"].isin(asked)].sort_values("path", ignore_index=True)


def _match_folders(input_dir: Path, *, split: str, classes: Sequence[str]) -> list[_Folder]:
    root = input_dir / split
    if not root.is_dir():
        raise UsageError(
            f"there is no folder {root}; input_dir must hold {split}/<class>/<image>. "
            "`fruits fetch MODE` brings Fruits-360."
        )
    folders = [(folder, files) for folder, files in _class_folders(root) if files]
    there = [folder.name for folder, _ in folders]
    asked = match_classes(there, classes, where=f"class folders with images of {root}")
    return [found for found in folders if found[0].name in asked]


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
