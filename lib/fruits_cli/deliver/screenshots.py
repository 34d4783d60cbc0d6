"""Screenshots that a person took: upright, no larger than a page can show."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from fruits.errors import UsageError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
# About 250 pixels an inch on A4.
_LARGEST = (1800, 2600)


class Screenshot(NamedTuple):
    """A picture, PNG or JPEG; the name of its file, without suffix; its width and height in pixels."""

    content: bytes
    caption: str
    size: tuple[int, int]


def read_screenshots(folder: Path) -> tuple[list[Screenshot], list[str]]:
    """Read the pictures of a folder, in the order of their names, and name the other files; refuse one without any."""
    try:
        shown = (file for file in folder.iterdir() if not file.name.startswith("."))
        files = sorted(shown, key=lambda file: (file.name.casefold(), file.name))
    except OSError as error:
        raise UsageError(f"--screenshots {folder} cannot be read ({error.strerror}); name a folder.") from error
    found = [(file, _read_picture(file)) for file in files]
    pictures = [picture for _, picture in found if picture]
    if not pictures:
        raise UsageError(f"--screenshots {folder} holds no picture; allowed: {', '.join(sorted(_SUFFIXES))}.")
    return pictures, [file.name for file, picture in found if not picture]


def _read_picture(file: Path) -> Screenshot | None:
    """Read a picture; None for any other file, and for one that cannot be read."""
    if file.suffix.lower() not in _SUFFIXES:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is scaled down at once
            with Image.open(file) as opened:
                kind = "JPEG" if opened.format == "JPEG" else "PNG"
                picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture.thumbnail(_LARGEST)
    page = Image.new("RGB", picture.size, "white")
    page.paste(picture, mask=picture)
    stream = io.BytesIO()
    page.save(stream, kind, quality=88)
    return Screenshot(stream.getvalue(), file.stem, page.size)
