"""Images known by their paths alone: listed below any folder, and read wherever they lie."""

import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fruits import folders
from fruits.errors import UsageError
from fruits.images.rows import NAMES
from fruits.images.selection import match_classes
from fruits.images.shards import PackedShards, list_shards, open_shard
from fruits.images.tree import ClassFolders, spell_name, walk

if TYPE_CHECKING:
    import pandas as pd

# The split of images that lie in none.
NO_SPLIT = "all"


def list_images(folder: str | Path, *, split: str | None = None, classes: Sequence[str] = ("*",)) -> "pd.DataFrame":
    """List the images below a folder: split folders, class folders, a flat folder, or shards that `fruits pack` made.

    Parameters
    ----------
    folder
        On this machine or in S3.
    split
        Keep the images of this split only.
    classes
        Keep the labels that match one of these globs.

    Returns
    -------
    DataFrame
        One row an image, sorted by path: `path` (str, absolute), `label` (str, the folder that holds the image),
        `split` (str: the first folder below `folder` if the image lies in split/class/, else "all").

    Raises
    ------
    UsageError
        If the folder cannot be listed, or no image is left.
    """
    import pandas as pd

    rows = sorted(_list_rows(folders.resolve(str(folder), base=Path.cwd())))
    there = sorted({row[2] for row in rows})
    if not rows:
        raise UsageError(f"{folder} holds no images (.jpg, .jpeg, .png); name a folder that has some below it.")
    if split is not None and split not in there:
        raise UsageError(f"{folder} has no split {split!r}; there are {', '.join(there)}.")
    table = pd.DataFrame([row for row in rows if split in (None, row[2])], columns=NAMES)
    asked = match_classes(table["label"], classes, where=f"labels below {folder}")
    return table[table["label"].isin(asked)].reset_index(drop=True)


def _list_rows(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield path, label and split of each image in the shards of a folder, or below it."""
    if shards := list_shards(root):
        for shard in shards:
            for row in open_shard(shard).read(NAMES).to_pylist():
                yield f"{root}/{row['path']}", row["label"], row["split"]
        return
    for place in walk(root):
        above = Path(place.below).parts
        split = spell_name(above[0]) if len(above) > 1 else NO_SPLIT
        # In a flat folder the images have no class folder.
        flat = [name for name, (kind, _) in place.ignored.items() if kind == "no class"]
        folder = root / place.below
        for name in [*place.images, *flat]:
            yield spell_name(f"{folder}/{name}"), spell_name(folder.name), split


@dataclass(frozen=True)
class ImagePaths:
    """Reads images by their paths: a file, or an image in the shards of the nearest folder above that has some."""

    base: str

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return the bytes of an image, or raise OSError."""
        location = locate(path, self.base)
        folder, _, name = location.rpartition("/")
        try:
            return _open_folder(f"{folder}/").read(name, tag=tag)
        except UsageError as error:
            raise OSError(str(error)) from error
        except FileNotFoundError:
            if (root := _find_shards(folder)) is None:
                raise
            return _open_shards(root).read(location.removeprefix(f"{root}/"))


def locate(path: str, base: str) -> str:
    """Return an absolute location; `file:/x`, as Spark writes it, is `/x`."""
    path = re.sub(r"\Afile:(//)?(?=/)", "", path)
    return path if "://" in path else os.path.normpath(f"{base}/{path}" if not path.startswith("/") else path)


# A worker opens each folder once.
@functools.lru_cache(maxsize=1024)
def _open_folder(folder: str) -> ClassFolders:
    return ClassFolders(folders.resolve(folder, base=None))


@functools.lru_cache(maxsize=1024)
def _find_shards(folder: str) -> Path | None:
    place = folders.resolve(folder, base=None)
    with suppress(OSError):
        return next((above for above in (place, *place.parents) if list_shards(above)), None)
    return None


@functools.lru_cache(maxsize=8)
def _open_shards(root: Path) -> PackedShards:
    return PackedShards(root)
