"""What class folders and packed shards have in common: they list images and read them. Runs on the workers."""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from fruits.images.decode import DecodeError, Pixels, decode_image
from fruits.images.orientation import UPRIGHT, read_orientation
from fruits.s3 import EARLIER_TAG, TAG

if TYPE_CHECKING:
    import pandas as pd

_TURNED = "-turned"
CHANGED = "changed since it was listed; run again"
# Threads hide the latency of a network disk; files in memory are hashed as fast by one.
_THREADS = 8
# Images a thread takes at once: handing them over one by one costs more than hashing them.
_CHUNK = 256


class ImageReader(Protocol):
    """Reads images by their paths; can be sent to a worker."""

    @abstractmethod
    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return the bytes of an image; raise OSError if it cannot be read or has another tag in S3 than `tag`."""


class ImageSource(ImageReader, ABC):
    """A folder of images; `fruits.images.open_images` finds out of which kind. Workers get it without its caches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)

    @abstractmethod
    def list_splits(self) -> list[str]:
        """Return the splits that can be asked for, sorted; of folders those that hold images in class folders."""

    @abstractmethod
    def list_images(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List the images of some classes, whether or not they can be read: the columns `rows.LISTED`, sorted by path.

        `path` is written as `walk.spell_name` does. `label` is the name of the folder that holds the image;
        where every image is asked for (the split `rows.ALL`), its path, below its split if it has one. `length`
        and `modified` are 0 where the file cannot be looked at. `digest` is known for packed images
        (`hash_content`) and in S3 (their tag), and empty for local files.

        UsageError if the split is missing, a folder cannot be listed, or a glob matches no class that holds
        images.
        """

    @abstractmethod
    def list_ignored(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List the files that `list_images` leaves out, and why: columns of `rows.IgnoredRow`, sorted by path.

        Files beside the class folders are among them. A hidden folder, or one of the system, is one row.
        """

    @abstractmethod
    def check_classes(self, *, split: str, classes: Sequence[str]) -> int:
        """Return how many images `list_images` lists; raise its errors. It does not look at each file."""

    def open_picture(self, path: str, *, size: int = 100) -> Image.Image | None:
        """Return a picture of an image, a square of `size` pixels, None if it can no longer be read."""
        with suppress(OSError, DecodeError):
            return Image.fromarray(decode_image(self.read(path), size=size, draft=True))
        return None

    def read_pictures(self, paths: Sequence[str]) -> list[Pixels]:
        """Return the pixels (100 x 100) of images; one that can no longer be read is white."""
        white = Image.new("RGB", (100, 100), "white")
        return [np.asarray(self.open_picture(path) or white) for path in paths]

    def read_examples(self, images: "pd.DataFrame", *, count: int) -> list[tuple[str, Pixels]]:
        """Return label and pixels (100 x 100) of up to `count` readable images, one of each class in turn."""
        turn = images.groupby("label").cumcount()
        ordered = images.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
        examples: list[tuple[str, Pixels]] = []
        for path, label in zip(ordered["path"], ordered["label"], strict=True):
            if len(examples) == count:
                break
            if picture := self.open_picture(path):
                examples.append((label, np.asarray(picture)))
        return examples


def read_as_listed(source: ImageReader, path: str, *, length: int, digest: str) -> tuple[bytes, str]:
    """Return the bytes of an image and their hash; raise OSError if they are not what was listed."""
    tag = tag_of(digest)
    content = source.read(path, tag=tag)
    found = hash_content(content)
    if len(content) != length or digest not in ("", tag, found):
        raise OSError(CHANGED)
    return content, found


def hash_content(content: bytes) -> str:
    """Return the SHA-256 of an image, in hexadecimal; with a suffix if decoding turns it.

    Earlier versions did not turn it, and stored other features of it under the SHA-256 alone. A photograph of 3 MB
    takes 2 ms with the processor's SHA instructions and 7 ms without; decoding it takes 200.
    """
    digest = hashlib.sha256(content).hexdigest()
    return digest if read_orientation(content) == UPRIGHT else f"{digest}{_TURNED}"


def tag_of(digest: str) -> str:
    """Return a digest that is a tag of S3; empty for a hash."""
    return digest if digest.startswith(TAG) else ""


def hash_images(images: "pd.DataFrame", *, source: ImageSource, known: "pd.DataFrame") -> "pd.DataFrame":
    """Fill in missing digests by reading the images whose length is among the `known` ones (`store.list_known`).

    The digest stays empty for images of other lengths, and for those that cannot be read. Images in S3 are read if
    their tag is known as an earlier version wrote it.
    """
    earlier = images["digest"].str.replace(TAG, EARLIER_TAG, regex=False).isin({*known["etag"]} - {""})
    unknown = (images["digest"].eq("") | earlier) & images["length"].isin(known["length"])
    paths = images.loc[unknown, "path"].tolist()

    def hash_chunk(start: int) -> list[str]:
        reader = copy.copy(source)  # one of packed images is for one thread
        return [_hash_image(reader, path) for path in paths[start : start + _CHUNK]]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = [digest for digests in pool.map(hash_chunk, range(0, len(paths), _CHUNK)) for digest in digests]
    digests = images["digest"].copy()
    digests[unknown] = found
    return images.assign(digest=digests)


def _hash_image(source: ImageSource, path: str) -> str:
    try:
        return hash_content(source.read(path))
    except (OSError, MemoryError):  # a worker will try, and say why
        return ""
