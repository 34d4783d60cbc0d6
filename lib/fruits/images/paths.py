"""Images known by their paths alone: listed below any folder, and read wherever they lie."""

import functools
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fruits import folders
from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.rows import ALL, NAMES
from fruits.images.shards import PackedShards, list_shards
from fruits.images.tree import ClassFolders
from fruits.images.walk import spell_name

if TYPE_CHECKING:
    import pandas as pd


def list_images(folder: str | Path, *, split: str | None = None, classes: Sequence[str] = ("*",)) -> "pd.DataFrame":
    """List the images below a folder: in split and class folders, in any others, flat, or packed by `fruits pack`.

    Parameters
    ----------
    folder
        On this machine or in S3. A table `labels.csv` in it says which images there are, and their labels.
    split
        List the images of this split only; by default all.
    classes
        Keep the labels that match one of these globs.

    Returns
    -------
    DataFrame
        One row an image, sorted by path: `path` (str, absolute), `label` (str, the path of the folder that holds the
        image; of a split that is asked for, its name), `split` (str: Training, Test, ..., else "all").

    Raises
    ------
    UsageError
        If the folder cannot be listed, or no image is left.
    """
    root = folders.resolve(str(folder), base=Path.cwd())
    images = open_images(root).list_images(split=split or ALL, classes=classes)[[*NAMES]]
    return images.assign(path=[f"{spell_name(str(root))}/{path}" for path in images["path"]])


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


_open_shards = functools.lru_cache(maxsize=8)(PackedShards)


@functools.lru_cache(maxsize=1024)
def _find_shards(folder: str) -> Path | None:
    place = folders.resolve(folder, base=None)
    with suppress(OSError):
        return next((above for above in (place, *place.parents) if list_shards(above)), None)
    return None
