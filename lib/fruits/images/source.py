"""Where the bytes of an image come from: files in class folders, or packed shards. Runs on the workers."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fruits import remote, storage
from fruits.images.packed import PackedImages, is_packed

_SPELT_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")
_CHANGED = "changed since it was listed; run again"


class ImageSource(Protocol):
    """Gives the bytes of an image by its path; can be sent to a worker."""

    def read(self, path: str, *, modified: int = 0) -> bytes:
        """Return the bytes of an image, or raise OSError.

        Parameters
        ----------
        modified
            When the image was modified as it was listed, nanoseconds since 1970; 0 if the listing does not know.
        """


@dataclass(frozen=True)
class ImageFolder:
    """Reads image files below a folder."""

    folder: Path

    def read(self, path: str, *, modified: int = 0) -> bytes:
        """Return the bytes of an image, or raise OSError; also if it was modified since it was listed."""
        if _SPELT_BYTE.search(path):
            raise OSError("the name is not UTF-8, or looks like one that is not; rename the file or its folder")
        if storage.is_remote(self.folder):
            content, now = remote.read_file(self.folder / path)
            # To the second: some stores' listings know more of it than what they say of one object.
            if modified and now // 10**9 != modified // 10**9:
                raise OSError(_CHANGED)
            return content
        with (self.folder / path).open("rb") as file:
            content = file.read()
            if modified and os.fstat(file.fileno()).st_mtime_ns != modified:
                raise OSError(_CHANGED)
        return content


def read_as_listed(source: ImageSource, path: str, *, length: int, modified: int) -> bytes:
    """Return the bytes of an image that is still what the listing saw.

    Features are kept under length and time of modification: those of other bytes must not be.

    Raises
    ------
    OSError
        If it cannot be read, has changed, or could not be looked at when it was listed (both are 0 then).
    """
    content = source.read(path, modified=modified)
    if len(content) == length:
        return content
    if (length, modified) == (0, 0):
        raise OSError("could not be looked at when it was listed; run again")
    raise OSError(_CHANGED)


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
