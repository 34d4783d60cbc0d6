"""Where the bytes of an image come from: files in class folders, or packed shards. Runs on the workers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fruits.folders import as_folder
from fruits.images.identity import hash_content, tag_of
from fruits.images.shards import PackedImages, is_packed

_SPELT_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")
_CHANGED = "changed since it was listed; run again"


class ImageSource(Protocol):
    """Gives the bytes of an image by its path; can be sent to a worker."""

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return the bytes of an image, or raise OSError.

        Parameters
        ----------
        tag
            The tag of an image in S3 as it was listed; empty if the listing does not know.
        """


@dataclass(frozen=True)
class ImageFolder:
    """Reads image files below a folder."""

    folder: Path

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return the bytes of an image, or raise OSError; also if its tag is another than when it was listed."""
        if _SPELT_BYTE.search(path):
            raise OSError("the name is not UTF-8, or looks like one that is not; rename the file or its folder")
        content, now = as_folder(self.folder).read_tagged(path)
        if tag and now != tag:
            raise OSError(_CHANGED)
        return content


def read_as_listed(source: ImageSource, path: str, *, length: int, digest: str) -> tuple[bytes, str]:
    """Return the bytes of an image that is still what the listing saw, and their hash.

    Raises
    ------
    OSError
        If it cannot be read or has changed.
    """
    tag = tag_of(digest)
    content = source.read(path, tag=tag)
    found = hash_content(content)
    if len(content) != length or digest not in ("", tag, found):
        raise OSError(_CHANGED)
    return content, found


def spell_name(name: str) -> str:
    r"""Write a name that is not UTF-8 so that Arrow, Parquet and CSV can hold it: its odd bytes as \udc80 to \udcff.

    In these names, and in those that look like one, backslashes are doubled, so that two names never become one; all
    others stay as they are. What comes out may be the name of another file: `ImageFolder` opens none of such a name.
    """
    spelt = name.encode("utf-8", "backslashreplace").decode()
    if not _SPELT_BYTE.search(spelt):
        return name
    return name.replace("\\", r"\\").encode("utf-8", "backslashreplace").decode()


def open_source(input_dir: Path) -> ImageSource:
    """Return what reads the images of a folder, found out by looking."""
    return PackedImages(input_dir) if is_packed(input_dir) else ImageFolder(input_dir)
