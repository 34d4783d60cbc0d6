"""Bytes to pixels as PIL's convert and resize make them, or a reason why not."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nasty import ARITHMETIC, make_png
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
    return Image.fromarray(noise(30, 40, 3)).convert(mode)


def as_the_field_does(image: Image.Image, size: int = 224) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
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


@pytest.mark.parametrize(("order", "mode"), [("<", "I;16"), (">", "I;16B")])
def test_grey_of_16_bits_keeps_its_upper_byte(order: str, mode: str) -> None:
    values = noise(30, 40, dtype=np.uint16)
    image = Image.frombytes(mode, (40, 30), values.astype(f"{order}u2").tobytes())
    right = as_the_field_does(Image.fromarray((values >> 8).astype(np.uint8)))
    np.testing.assert_array_equal(decode_image(encode(image, "TIFF")), right)


def test_transparency_of_a_palette_leaves_its_colours() -> None:
    image = picture("P")
    np.testing.assert_array_equal(decode_image(encode(image, transparency=b"\0\x80\xff")), as_the_field_does(image))


def test_arithmetic_coding_is_read() -> None:
    pixels = decode_image(ARITHMETIC)
    assert pixels[0, 0].tolist() == [9, 9, 9]
    assert pixels[200, 200].tolist() == [190, 190, 190]


def test_orientation_in_exif_is_ignored() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    image = picture("RGB")
    assert decode_image(encode(image, "JPEG", exif=turned)).tobytes() == decode_image(encode(image, "JPEG")).tobytes()


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
        (b"\xef\xbb\xbf\r\n<HTML><body>404", r"^an HTML page, not an image \(20 bytes\)$"),
        (b"\0" * 5000, "not an image"),
        (JPEG[:1], "not an image"),
        (JPEG[:200], "^truncated JPEG: its 200 bytes end before the picture does$"),
        (JPEG[: len(JPEG) // 2], "^truncated JPEG"),
        (PNG[: len(PNG) // 2], "^truncated PNG"),
        (PNG[:60] + bytes(50) + PNG[110:], r"^damaged PNG \([\d,]+ bytes\): broken data stream$"),
    ],
    ids=["empty", "text", "svg", "page", "zeros", "one byte", "header", "half a JPEG", "half a PNG", "damaged PNG"],
)
def test_bytes_that_are_no_whole_image_raise_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        decode_image(content)
    assert "\n" not in str(caught.value)


def test_a_jpeg_that_ends_early_is_never_an_image() -> None:
    for end in range(len(JPEG)):
        with pytest.raises(DecodeError, match=r"empty|not an image|truncated JPEG"):
            decode_image(JPEG[:end])


@pytest.mark.parametrize("side", [9_460, 30_000], ids=["PIL warns", "PIL refuses"])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(DecodeError, match=rf"^{side:,} x {side:,} pixels out of 65 bytes; at most 89,478,485"):
        decode_image(make_png(side, side, b""))


def test_a_side_is_limited_too() -> None:
    with pytest.raises(DecodeError, match=r"^1 x 65,536 pixels out of 65 bytes; .* 65,535 on a side"):
        decode_image(make_png(1, 65_536, b""))
    assert decode_image(make_png(1, 65_535, bytes(4 * 65_535))).max() == 0


def test_decoding_changes_nothing_that_others_see() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    for content in (JPEG, b"no image", make_png(30_000, 30_000, b"")):
        with contextlib.suppress(DecodeError):
            decode_image(content)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_lack_of_memory_is_no_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(MemoryError, match=rf"no memory to decode {len(JPEG):,} bytes of JPEG"):
        decode_image(JPEG)


def test_the_end_of_somebodys_patience_is_no_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise TimeoutError("no answer in 1 s")

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(TimeoutError, match=r"^no answer in 1 s$"):
        decode_image(JPEG)


def test_an_error_without_words_gets_some(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(5)

    monkeypatch.setattr(Image.Image, "resize", fail)
    with pytest.raises(DecodeError, match=rf"^damaged JPEG \({len(JPEG):,} bytes\): its data cannot be decoded$"):
        decode_image(JPEG)
