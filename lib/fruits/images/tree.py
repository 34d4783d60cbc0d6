"""What lies in the folders of a split, in a file system or in S3: images, and why the others are none."""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fruits.errors import UsageError
from fruits.folders import as_folder, compose
from fruits.images.formats import HEAD_BYTES
from fruits.images.ignored import Why, has_suffix, judge_file, judge_mode, judge_name
from fruits.images.source import spell_name
from fruits.s3 import S3Folder, S3Object


class Found(NamedTuple):
    """A folder and what is in it; the others by name."""

    folder: Path
    images: list["os.DirEntry[str] | S3Object"]
    ignored: dict[str, Why]

    @property
    def label(self) -> str:
        """The class of what is in it."""
        return spell_name(self.folder.name)


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it cannot be listed."""
    return as_folder(folder).list_folders()


def list_splits(input_dir: Path) -> list[str]:
    """Return the folders that may be splits, sorted: all but hidden ones and those of the system."""
    return [name for name in list_folders(input_dir) if not judge_name(name)]


def find_split(input_dir: Path, split: str) -> str:
    """Return the name of the folder of a split, which may have its accents in another form.

    Raises
    ------
    UsageError
        If it is not there, with those that are.
    """
    if as_folder(input_dir / split).exists():
        return split
    there = list_splits(input_dir)
    if same := [name for name in there if compose(name) == compose(split)]:
        return same[0]
    raise UsageError(
        f"there is no folder {input_dir / split}; input_dir must hold {split}/<class>/<image>, and holds "
        f"{', '.join(there[:10]) or 'no folder'}. Set split or input_dir, or `fruits fetch MODE` brings Fruits-360."
    )


def has_images(input_dir: Path, *, split: str) -> bool:
    """Tell whether a folder of class folders has the split, with any image in it.

    Raises
    ------
    UsageError
        If a folder cannot be listed.
    """
    root = input_dir / split
    return as_folder(root).exists() and any(found.images for found in walk(root))


def walk(root: Path) -> Iterator[Found]:
    """Yield `root` and every folder below it."""
    folder = as_folder(root)
    return _walk_objects(folder) if isinstance(folder, S3Folder) else _walk_folders(root)


def _walk_objects(folder: S3Folder) -> Iterator[Found]:
    """Group a listing by folders; look into files without a suffix, all at once."""
    root = folder.path
    objects = {file.name: file._replace(name=file.name.rpartition("/")[2]) for file in folder.list_objects()}
    unclear = [path for path, file in objects.items() if file.length and not has_suffix(file.name)]
    heads = folder.read_heads(unclear, length=HEAD_BYTES)
    found_in: dict[str, Found] = {}
    for path, file in objects.items():
        parts = path.split("/")
        # A folder that is left out is one entry of its parent.
        place = next((place for place, part in enumerate(parts) if judge_name(part)), len(parts) - 1)
        parent, name = "/".join(parts[:place]), parts[place]
        found = found_in.setdefault(parent, Found(root / parent if parent else root, [], {}))
        head = partial(bytes, heads.get(path, b""))
        if why := judge_name(name) or judge_file(name, in_class=bool(parent), read_head=head):
            found.ignored[name] = why
        else:
            found.images.append(file)
    yield from found_in.values()


def _walk_folders(root: Path) -> Iterator[Found]:
    """Follow linked folders once."""
    seen = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        found = Found(folder, [], {})
        for entry in _scan(folder):
            if why := judge_name(entry.name):
                found.ignored[entry.name] = why
            elif entry.is_dir(follow_symlinks=False):
                waiting.appendleft(folder / entry.name)
            elif entry.is_symlink() and as_folder(Path(entry.path)).exists():
                waiting.append(folder / entry.name)  # after all real folders: a class keeps its own name
            elif why := _judge(entry, in_class=folder != root):
                found.ignored[entry.name] = why
            else:
                found.images.append(entry)
        yield found


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be listed ({error.strerror}); make it readable, or move it elsewhere."
        ) from error


def _judge(file: "os.DirEntry[str]", *, in_class: bool) -> Why | None:
    """Judge by the kind of file first: opening a pipe would wait for ever."""
    if not file.is_file(follow_symlinks=False):
        with suppress(OSError):
            if why := judge_mode(file.stat().st_mode):
                return why
    return judge_file(file.name, in_class=in_class, read_head=partial(_read_head, file.path))


def _read_head(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.read(HEAD_BYTES)
