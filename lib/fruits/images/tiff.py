"""TIFF files whose samples PIL takes for something else than they are. Runs on the workers."""

import io
from typing import Any

from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_SUBFILE, _WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL = 254, 256, 258, 259, 262, 266
_PLANAR, _COLOURS, _PREVIEWED, _FORMAT, _DNG = 284, 320, 330, 339, 50706
_PHOTOMETRICS = {
    0: "white is zero",
    1: "black is zero",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array of a camera",
    34892: "linear RAW of a camera",
}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating point", 5: "complex", 6: "complex"}
# Bits a sample that come out right, by photometric interpretation.
_RIGHT = {0: {1, 2, 4, 8, 16}, 1: {1, 2, 4, 8, 12, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 5: {8, 16}, 6: {8}, 8: {8}}


class UnreadTiffError(Exception):
    """A TIFF of a kind that is not read; the message says of which."""


def check_tiff(content: bytes) -> None:
    """Refuse, by an UnreadTiffError, a TIFF whose pixels PIL would get wrong."""
    tags = _read_tags(content)
    # The first picture of these is a thumbnail.
    if _DNG in tags or (tags.get(_SUBFILE, 0) & 1 and _PREVIEWED in tags):
        raise UnreadTiffError("a camera's RAW picture (TIFF), which is not read; convert it to JPEG")
    if _WIDTH in tags and not _is_right(tags):
        raise UnreadTiffError(_describe(tags))


def _is_right(tags: Any) -> bool:
    """Tell whether PIL makes the right pixels; tried with files of each kind (`tests/test_tiff.py`)."""
    bits, photometric, raw = set(tags.get(_BITS, (1,))), tags.get(_PHOTOMETRIC), tags.get(_COMPRESSION, 1) == 1
    if not bits <= _RIGHT.get(photometric, set()) or set(tags.get(_FORMAT, (1,))) - {1, 4}:
        return False
    planes, plain = tags.get(_PLANAR, 1) == 2, bits == {8} and photometric != 0 and tags.get(_FILL, 1) == 1
    return not ((planes and photometric == 8) or (planes and raw and not plain) or (raw and photometric == 6))


def describe_tiff(content: bytes) -> str | None:
    """Say what the samples of a TIFF are, and what to do; None if it does not say it."""
    try:
        tags = _read_tags(content)
    except Exception:  # what PIL's readers raise on damaged directories
        return None
    return _describe(tags) if _WIDTH in tags else None


def read_grey(image: Image.Image) -> tuple[int, bool]:
    """Return how many bits a grey sample of more than 8 has, and whether white is zero."""
    tags = getattr(image, "tag_v2", {_BITS: (16,)})
    return tags[_BITS][0], tags.get(_PHOTOMETRIC) == 0


def widen_palette(image: Image.Image) -> None:
    """Take a palette of 8-bit colours for what it is: of the 16 bits that the standard has, PIL keeps the upper 8."""
    colours = getattr(image, "tag_v2", {}).get(_COLOURS, (256,))
    if max(colours) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _describe(tags: Any) -> str:
    bits, photometric = tags.get(_BITS, (1,)), tags.get(_PHOTOMETRIC, "missing")
    formats = " and ".join(sorted({_FORMATS.get(kind, f"format {kind}") for kind in tags.get(_FORMAT, (1,))}))
    planes = " in separate planes" if tags.get(_PLANAR, 1) == 2 else ""
    return (
        f"TIFF with {'-'.join(map(str, bits))} bits a sample{planes}, {formats}, photometric interpretation "
        f"{photometric} ({_PHOTOMETRICS.get(photometric, 'unknown')}), which is not read; save it as grey or RGB with "
        "8 bits a sample"
    )


def _read_tags(content: bytes) -> Any:
    stream = io.BytesIO(content)
    tags = ImageFileDirectory_v2(stream.read(16 if 43 in content[2:4] else 8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags
