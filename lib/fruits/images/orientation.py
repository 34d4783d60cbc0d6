"""How a picture must be turned to stand upright, read from its bytes alone. Runs on the workers."""

import re
import struct
from contextlib import suppress

from fruits.images.formats import name_decoded, skip_to_picture, walk_jpeg

UPRIGHT = 1
_TAG, _SHORT = 0x0112, 3
_ORDERS = {b"II": "<", b"MM": ">"}
# AVIF has no EXIF orientation, but quarter turns (to the left), then a mirror (upside down, or left to right).
_TURN, _MIRROR = (re.compile(rb"\0\0\0\x09" + name + rb"(.)", re.DOTALL) for name in (b"irot", b"imir"))
_OF_AVIF = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


def read_orientation(content: bytes) -> int:
    """Return the orientation of a picture as EXIF counts it, 1 to 8; 1 where there is none that can be read.

    It is 1 for TIFF and HEIF: their readers turn the picture themselves.
    """
    if (kind := name_decoded(content)) is None:
        content = skip_to_picture(content)
        kind = name_decoded(content)
    if kind == "AVIF":
        turn, mirror = _TURN.search(content), _MIRROR.search(content)
        return _OF_AVIF[mirror[1][0] & 1 if mirror else None][turn[1][0] & 3 if turn else 0]
    with suppress(struct.error, KeyError):
        if exif := _find_exif(content, kind):
            return _read_tag(exif)
    return UPRIGHT


def _find_exif(content: bytes, kind: str | None) -> bytes:
    """Return the TIFF directory that EXIF data are; empty if there are none."""
    # Most pictures have none: to search the bytes is faster than to walk through them.
    if kind == "JPEG" and b"Exif\0\0" in content:
        found = (segment for marker, segment in walk_jpeg(content) if marker == 0xE1)
        return next((segment for segment in found if segment.startswith(b"Exif\0\0")), b"")[6:]
    if kind == "PNG" and b"eXIf" in content:
        return _find_chunk(content, b"eXIf", start=8, form=">I4s", rest=4)
    if kind == "WebP" and b"EXIF" in content:
        return _find_chunk(content, b"EXIF", start=12, form="<4sI", rest=0).removeprefix(b"Exif\0\0")
    return b""


def _find_chunk(content: bytes, name: bytes, *, start: int, form: str, rest: int) -> bytes:
    """Return the first chunk of a name; `form` tells how length and name are written, `rest` what follows a chunk."""
    while start < len(content):
        head = struct.unpack_from(form, content, start)
        length = next(value for value in head if isinstance(value, int))
        if name in head:
            return content[start + 8 : start + 8 + length]
        start += 8 + length + rest + (length & 1 if rest == 0 else 0)
    return b""


def _read_tag(exif: bytes) -> int:
    order = _ORDERS[exif[:2]]
    (place,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, place)
    for number in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place + 2 + 12 * number)
        if tag == _TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
