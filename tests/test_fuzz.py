"""Images damaged at random: pixels or a reason, never another error, and soon.

`pytest tests/test_fuzz.py --hypothesis-profile=long` tries many more, other ones each time.
"""

import re
from collections.abc import Callable

import nasty
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fruits.images.decode import DecodeError, decode_image

Damage = Callable[[bytes], bytes]
SEEDS = {
    "JPEG": nasty.JPEG,
    "progressive": nasty.READABLE["progressive.jpg"],
    "CMYK": nasty.READABLE["cmyk.jpg"],
    "EXIF": nasty.READABLE["turned by EXIF.jpg"],
    "PNG": nasty.PNG,
    "palette": nasty.READABLE["palette, some transparent.png"],
    "animated PNG": nasty.READABLE["animation.png"],
    "GIF": nasty.READABLE["animation.jpg"],
    "BMP": nasty.READABLE["a BMP.jpg"],
    "WebP": nasty.READABLE["a WebP.jpg"],
    "TIFF": nasty.READABLE["a TIFF.jpg"],
    "AVIF": nasty.READABLE["an AVIF.jpg"],
}
# Headers are short and matter most, so half of the damage is done to the first bytes.
PLACES = st.integers(0, 120) | st.integers(0, 6000)


def flip(place: int, value: int) -> Damage:
    return lambda b: b[: place % len(b)] + bytes([value]) + b[place % len(b) + 1 :] if b else b


def cut(end: int) -> Damage:
    return lambda b: b[: end % (len(b) + 1)]


def remove(start: int, length: int) -> Damage:
    return lambda b: b[:start] + b[start + length :]


def insert(place: int, piece: bytes) -> Damage:
    return lambda b: b[:place] + piece + b[place:]


def splice(place: int, other: bytes) -> Damage:
    return lambda b: b[:place] + other[place:]


DAMAGES = st.one_of(
    st.builds(flip, PLACES, st.integers(0, 255)),
    st.builds(cut, PLACES),
    st.builds(remove, PLACES, st.integers(1, 64)),
    st.builds(insert, PLACES, st.binary(max_size=16) | st.sampled_from([b"\xff\xc4", b"\xff\xda", b"\xff" * 8])),
    st.builds(splice, PLACES, st.sampled_from(list(SEEDS.values()))),
)


def check(content: bytes) -> None:
    reason = ""
    try:
        pixels = decode_image(content)
    except DecodeError as error:
        reason = str(error)
    if reason:
        assert re.fullmatch(r"[^\n\r]{10,300}", reason)
        assert not re.search(r"[a-z]Error\b|0x[0-9a-f]{6}|/site-packages/", reason)
    else:
        assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.dtype(np.uint8))


@pytest.mark.parametrize("content", SEEDS.values(), ids=SEEDS)
@given(damages=st.lists(DAMAGES, min_size=1, max_size=4))
def test_damaged_images_are_pixels_or_a_reason(content: bytes, damages: list[Damage]) -> None:
    for damage in damages:
        content = damage(content)
    check(content)


@given(st.binary(max_size=400))
@example(b"\xff\xd8\xff" + b"\xff" * 100)
def test_any_bytes_are_pixels_or_a_reason(content: bytes) -> None:
    check(content)


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a", b"BM", b"II*\0"])
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_signature_are_pixels_or_a_reason(start: bytes, rest: bytes) -> None:
    check(start + rest)
