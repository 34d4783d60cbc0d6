"""Where the bytes of an image come from: files in class folders, or packed shards. Runs on the workers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fruits.images.packed import PackedImages, is_packed

_SPELT_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")


class ImageSource(Protocol):
    """Gives the bytes of an image by its path; can be sent to a worker."""

    def read(self, path: str) -> bytes:
        """Return the bytes of an image, or raise OSError."""


@dataclass(frozen=True)
class ImageFolder:
    """Reads image files below a folder."""

    folder: Path

    def read(self, path: str) -> bytes:
        """Return the bytes of an image, or raise OSError."""
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:
            if _SPELT_BYTE.search(path):
                raise OSError("the name is not UTF-8; rename the file or its folder") from error
            raise


def spell_name(name: str) -> str:
    r"""Write a name that is not UTF-8 so that Arrow, Parquet and CSV can hold it: its odd bytes as \udc80 to \udcff.

    No file has the name that comes out, so reading it fails; `ImageFolder` says why.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def open_source(input_dir: Path) -> ImageSource:
    """Return what reads the images of a folder, found out by looking."""
    return PackedImages(input_dir) if is_packed(input_dir) else ImageFolder(input_dir)
