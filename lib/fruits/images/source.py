"""Where the bytes of an image come from: files in class folders, or packed shards. Runs on the workers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fruits.images.packed import PackedImages, list_shards


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
        return (self.folder / path).read_bytes()


def open_source(input_dir: Path) -> ImageSource:
    """Return what reads the images of a folder, found out by looking."""
    return PackedImages(input_dir) if list_shards(input_dir) else ImageFolder(input_dir)
