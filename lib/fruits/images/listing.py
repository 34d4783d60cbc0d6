"""Class folders, or packed shards, to one table of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fruits.errors import quote_first
from fruits.images.classes import choose_classes, match_classes
from fruits.images.ignored import count_kinds
from fruits.images.rows import LISTED, IgnoredRow
from fruits.images.shards import is_packed, list_packed
from fruits.images.source import spell_name
from fruits.images.tree import Found, find_split, walk
from fruits.s3 import S3Object

if TYPE_CHECKING:
    import os

# What an int64 holds: nanoseconds from 1677 to 2262.
_TIMES = (-(2**63), 2**63 - 1)


def list_images(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """List the images of some classes, whether or not they can be read.

    Images are files with a suffix of `ignored.IMAGE_SUFFIXES`, and those without any that start like one.
    `find_ignored` tells of the others.

    Parameters
    ----------
    input_dir
        The folder that holds `Training/` and `Test/`, or the shards that `fruits pack` made of it.
    split
        `Training`, `Test`, or any other folder there.
    classes
        Globs on the name of the folder that holds the image: see `match_classes`.

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
        split = parent.partition("/")[0]  # as it is spelt there
        rows += [(spell_name(f"{parent}/{file.name}"), found.label, split, *_look_at(file)) for file in found.images]
    table = pd.DataFrame(rows, columns=LISTED)
    return table.astype({"length": "int64", "modified": "int64"}).sort_values("path", ignore_index=True)


def find_ignored(input_dir: Path, *, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """Find what is not listed in the class folders, and why.

    Parameters
    ----------
    input_dir, split, classes
        As `list_images` has them.

    Returns
    -------
    DataFrame
        One row a file, sorted by path, with those directly in the folder of the split, which have no class; a hidden
        folder and one of the system count as one: `path` (str, relative to `input_dir`), `kind` (str: a suffix such as
        `.txt`, `no suffix`, `hidden`, `system`, `no class`, `pipe`...), `reason` (str). None in packed shards.

    Raises
    ------
    UsageError
        If the folder of the split is missing, or a folder cannot be listed.
    """
    rows = []
    if not is_packed(input_dir):
        root = input_dir / find_split(input_dir, split)
        folders = list(walk(root))
        asked = choose_classes([found.label for found in folders if found.folder != root], classes)
        rows = [
            (spell_name(f"{found.folder.relative_to(input_dir).as_posix()}/{name}"), *why)
            for found in folders
            if found.folder == root or found.label in asked
            for name, why in found.ignored.items()
        ]
    return pd.DataFrame(sorted(rows), columns=IgnoredRow._fields, dtype=str)


def name_untaken(images: pd.DataFrame, ignored: pd.DataFrame) -> list[str]:
    """Say which class folders are missing from a listing because no file of theirs is an image.

    Parameters
    ----------
    images, ignored
        As `list_images` and `find_ignored` return them for the same classes.
    """
    files = ignored[~ignored["kind"].isin({"no class", "hidden", "system"})]
    names = sorted(set(files["path"].str.split("/").str[-2]) - set(images["label"]))
    sentence = f"{len(names)} class folders hold no file that is taken: {quote_first(names)}; ignored.csv says why."
    return [sentence] if names else []


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


def _match_folders(input_dir: Path, *, split: str, classes: Sequence[str]) -> list[Found]:
    root = input_dir / find_split(input_dir, split)
    folders = list(walk(root))
    there = [found.label for found in folders if found.images]
    untaken = {found.label: count_kinds(found.ignored) for found in folders if found.ignored and found.folder != root}
    asked = match_classes(there, classes, where=f"class folders with images of {root}", untaken=untaken)
    return [found for found in folders if found.images and found.label in asked]


def _look_at(file: "os.DirEntry[str] | S3Object") -> tuple[int, int, str]:
    if isinstance(file, S3Object):
        length, modified, digest = file.length, file.modified, file.tag
    else:
        try:
            status = file.stat()
        except OSError:
            return 0, 0, ""
        length, modified, digest = status.st_size, status.st_mtime_ns, ""
    return length, min(max(modified, _TIMES[0]), _TIMES[1]), digest
