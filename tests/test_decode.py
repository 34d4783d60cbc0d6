"""Bytes to pixels as PIL's convert and resize make them, or a reason why not."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fruits.images.decode import DecodeError, decode_image

RNG = np.random.default_rng(0)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(*shape: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> npt.NDArray[Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype)


def picture(mode: str) -> Image.Image:
    """Noise in a mode of PIL."""
    if mode == "I;16":
        return Image.fromarray(noise(30, 40, dtype=np.uint16))
    return Image.fromarray(noise(30, 40, 3)).convert(mode)


def as_the_field_does(image: Image.Image, size: int = 224) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_lossless_image_of_any_mode_equals_convert_and_resize(mode: str) -> None:
    image = picture(mode)
    assert image.mode == mode
    pixels = decode_image(encode(image))
    assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)
    np.testing.assert_array_equal(pixels, as_the_field_does(image))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_equals_convert_and_resize(mode: str) -> None:
    content = encode(picture(mode), "JPEG", quality=90)
    np.testing.assert_array_equal(decode_image(content), as_the_field_does(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("RGB", (9, 7), (200, 30, 40)), (200, 30, 40)),
        (Image.new("L", (9, 7), 77), (77, 77, 77)),
        (Image.new("RGBA", (9, 7), (1, 2, 3, 0)), (1, 2, 3)),
        (Image.new("RGB", (9, 7), (200, 30, 40)).quantize(4), (200, 30, 40)),
    ],
    ids=["RGB", "L", "RGBA", "P"],
)
def test_plain_colour_stays_what_it_is(image: Image.Image, colour: tuple[int, int, int]) -> None:
    pixels = decode_image(encode(image), size=50)
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array(colour), (50, 50, 3)))


def test_image_that_has_the_size_is_not_touched() -> None:
    pixels = noise(64, 64, 3)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(pixels)), size=64), pixels)


def test_real_fruit_equals_convert_and_resize(shared: Path) -> None:
    for label in ("Apple Braeburn", "Kiwi"):
        file = min((shared / "fruits-360/Training" / label).glob("*.jpg"))
        with Image.open(file) as image:
            np.testing.assert_array_equal(decode_image(file.read_bytes()), as_the_field_does(image))


JPEG = encode(picture("RGB"), "JPEG")
PNG = encode(picture("RGB"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"apples, 12 pieces\n", r"not an image \(18 bytes that start with b'apples, '"),
        (b"<svg/>", "not an image"),
        (b"\0" * 5000, "not an image"),
        (JPEG[:1], "not an image"),
        (JPEG[:200], "."),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "."),
        (PNG[:60] + bytes(50) + PNG[110:], "."),
    ],
    ids=["empty", "text", "svg", "zeros", "one byte", "header", "half a JPEG", "half a PNG", "damaged PNG"],
)
def test_bytes_that_are_no_whole_image_raise_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        decode_image(content)
    assert "\n" not in str(caught.value)
