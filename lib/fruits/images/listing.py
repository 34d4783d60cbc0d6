"""Class folders, or packed shards, to one table of images."""

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fruits.errors import UsageError
from fruits.images.classes import match_classes
from fruits.images.packed import LISTED, is_packed, list_packed
from fruits.images.source import spell_name
from fruits.remote import has_objects, list_objects
from fruits.storage import is_remote

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# What an int64 holds: nanoseconds from 1677 to 2262.
_TIMES = (-(2**63), 2**63 - 1)


class _Object(NamedTuple):
    """A file in an object store, whose listing tells all there is to know."""

    name: str
    length: int
    modified: int
    tag: str


class _Found(NamedTuple):
    """A folder and the files in it."""

    folder: Path
    images: list["os.DirEntry[str] | _Object"]
    ignored: list[str]

    @property
    def label(self) -> str:
        return spell_name(self.folder.name)


def list_images(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """List the images of some classes, whether or not they can be read.

    Images are files with a suffix of `IMAGE_SUFFIXES` or none at all. `find_ignored` tells of the others.

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
        One row an image, sorted by path: `path` (str, relative to `input_dir`, with `/`, as `spell_name` writes
        it), `label` (str, the parent folder), `split` (str), `length` (int64, bytes; 0 where the file cannot be
        looked at), `modified` (int64, nanoseconds since 1970, of times outside it the nearest; 0 likewise), `digest`
        (str, what the content is known by without reading it: the SHA-256 of packed images, the tag of those in S3
        as `remote.list_objects` has it; else empty).

    Raises
    ------
    UsageError
        If the folder is missing or holds shards and class folders, a folder cannot be listed, or a glob matches no
        class that holds images.
    """
    if is_packed(input_dir):
        return _match_packed(input_dir, split=split, classes=classes)
    rows = []
    for found in _match_folders(input_dir, split=split, classes=classes):
        parent = found.folder.relative_to(input_dir).as_posix()
        rows += [(spell_name(f"{parent}/{file.name}"), found.label, split, *_look_at(file)) for file in found.images]
    table = pd.DataFrame(rows, columns=LISTED.names)
    return table.astype({"length": "int64", "modified": "int64"}).sort_values("path", ignore_index=True)


def find_ignored(input_dir: Path, *, split: str, classes: Sequence[str]) -> list[str]:
    """Find the files in class folders that are not listed as images: by their suffix, hidden, or pipes and devices.

    Parameters
    ----------
    input_dir, split, classes
        As `list_images` has them.

    Returns
    -------
    list of str
        Paths relative to `input_dir`, sorted, with those directly in the folder of the split, which have no class; a
        hidden folder counts as one. None in packed shards.

    Raises
    ------
    UsageError
        If the folder of the split is missing, or a folder cannot be listed.
    """
    if is_packed(input_dir):
        return []
    root = input_dir / split
    return sorted(
        spell_name(f"{found.folder.relative_to(input_dir).as_posix()}/{name}")
        for found in _walk(root)
        if found.folder == root or any(fnmatchcase(found.label, glob) for glob in classes)
        for name in found.ignored
    )


def has_images(input_dir: Path, *, split: str) -> bool:
    """Tell whether a folder of class folders has the split, with any image in it.

    Raises
    ------
    UsageError
        If a folder cannot be listed.
    """
    root = input_dir / split
    return _is_folder(root) and any(found.images for found in _walk(root))


def check_classes(input_dir: Path, *, split: str, classes: Sequence[str]) -> None:
    """Refuse a missing folder and a class glob that matches nothing.

    Raises
    ------
    UsageError
        Naming the folder or the globs, and what is there.
    """
    match = _match_packed if is_packed(input_dir) else _match_folders
    match(input_dir, split=split, classes=classes)


def _match_packed(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    images = list_packed(input_dir, split=split)
    asked = match_classes(images["label"], classes, where=f"classes of {split} packed in {input_dir}")
    return images[images["label"].isin(asked)].sort_values("path", ignore_index=True)


def _match_folders(input_dir: Path, *, split: str, classes: Sequence[str]) -> list[_Found]:
    root = input_dir / split
    folders = [found for found in _walk(root) if found.images]
    there = [found.label for found in folders]
    asked = match_classes(there, classes, where=f"class folders with images of {root}")
    return [found for found in folders if found.label in asked]


def _walk(root: Path) -> Iterator[_Found]:
    """Yield `root` and every folder below it."""
    if not _is_folder(root):
        raise UsageError(
            f"there is no folder {root}; input_dir must hold {root.name}/<class>/<image>. "
            "`fruits fetch MODE` brings Fruits-360."
        )
    return _walk_objects(root) if is_remote(root) else _walk_folders(root)


def _walk_objects(root: Path) -> Iterator[_Found]:
    folders: dict[str, _Found] = {}
    for path, length, modified, tag in list_objects(root):
        parent, _, name = path.rpartition("/")
        found = folders.setdefault(parent, _Found(root / parent if parent else root, [], []))
        if parent and not any(part.startswith(".") for part in path.split("/")) and _has_image_name(name):
            found.images.append(_Object(name, length, modified, tag))
        else:
            found.ignored.append(name)
    yield from folders.values()


def _walk_folders(root: Path) -> Iterator[_Found]:
    """Follow linked folders once."""
    seen = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        found = _Found(folder, [], [])
        for entry in _scan(folder):
            if entry.name.startswith("."):
                found.ignored.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                waiting.appendleft(folder / entry.name)
            elif entry.is_symlink() and _is_folder(entry.path):
                waiting.append(folder / entry.name)  # after all real folders: a class keeps its own name
            elif folder != root and _is_image(entry):
                found.images.append(entry)
            else:
                found.ignored.append(entry.name)
        yield found


def _is_folder(path: Path | str) -> bool:
    if is_remote(path):
        return has_objects(path)
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where it may not look


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be listed ({error.strerror}); make it readable, or move it elsewhere."
        ) from error


def _is_image(file: "os.DirEntry[str]") -> bool:
    """Tell images by their suffix; without any, they must be there. Opening a pipe would wait for ever."""
    if not _has_image_name(file.name):
        return False
    if file.is_file(follow_symlinks=False):
        return True
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return "." in file.name


def _has_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) or "." not in name


def _look_at(file: "os.DirEntry[str] | _Object") -> tuple[int, int, str]:
    if isinstance(file, _Object):
        length, modified, digest = file.length, file.modified, file.tag
    else:
        try:
            status = file.stat()
        except OSError:
            return 0, 0, ""
        length, modified, digest = status.st_size, status.st_mtime_ns, ""
    return length, min(max(modified, _TIMES[0]), _TIMES[1]), digest
