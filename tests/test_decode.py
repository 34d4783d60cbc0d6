"""Bytes to pixels as PIL's convert and resize make them, or a reason why not."""

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nasty import ARITHMETIC, make_png, png_chunk
from PIL import Image
from tiffs import make_lossless_jpeg, pack_bits

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
    assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.dtype(np.uint8))
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


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["grey", "RGB", "LA", "RGBA"])
def test_a_png_keeps_the_upper_bits_of_its_samples(colour: int, samples: int, depth: int) -> None:
    if depth < 8 and colour:
        depth = 8  # the standard has no others
    values = RNG.integers(0, 2**depth, (9, 9 * samples))
    rows = b"".join(
        b"\0" + row.astype(">u2").tobytes() if depth == 16 else b"\0" + pack_bits(row[None], depth) for row in values
    )
    upper = values >> (depth - 8) if depth >= 8 else values * 255 // (2**depth - 1)
    shown = upper.reshape(9, 9, samples)[:, :, : 3 if samples > 2 else 1]
    pixels = decode_image(make_png(9, 9, rows, depth=depth, colour=colour), size=9)
    np.testing.assert_array_equal(pixels, np.broadcast_to(shown, (9, 9, 3)))


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


def test_image_that_has_the_size_is_not_touched() -> None:
    pixels = noise(64, 64, 3)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(pixels)), size=64), pixels)


def test_a_draft_shows_the_same_picture() -> None:
    slopes = np.add.outer(np.arange(300), np.arange(400))[..., None] // np.array([3, 4, 5])
    large = encode(Image.fromarray(slopes.astype(np.uint8)), "JPEG", quality=95)
    exact, draft = (decode_image(large, size=32, draft=draft).astype(int) for draft in (False, True))
    assert 0 < np.abs(exact - draft).max() <= 3


@pytest.mark.parametrize(
    "content",
    [
        encode(picture("RGB").resize((64, 64)), "JPEG"),
        encode(picture("RGB").resize((400, 300))),
        make_lossless_jpeg(noise(256, 256), bits=8),  # PIL would write beyond its buffer
    ],
    ids=["of the size", "PNG", "lossless"],
)
def test_what_cannot_be_shrunk_while_decoding_is_not_touched_by_a_draft(content: bytes) -> None:
    np.testing.assert_array_equal(decode_image(content, size=64, draft=True), decode_image(content, size=64))


@pytest.mark.parametrize(("mode", "turn"), [("L", 6), ("CMYK", 3)])
def test_a_draft_is_turned_and_keeps_its_colours(mode: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    slopes = Image.fromarray(np.add.outer(np.arange(240), np.arange(320) * 0).astype(np.uint8)).convert(mode)
    content = encode(slopes, "JPEG", quality=95, exif=exif)
    exact, draft = (decode_image(content, size=32, draft=draft).astype(int) for draft in (False, True))
    assert np.ptp(exact) > 200
    assert np.abs(exact - draft).max() <= 3


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


BIG = RNG.bytes(3 * 2**20)
BOMB = zlib.compressobj(9)
BOMB_BYTES = b"".join(BOMB.compress(bytes(10**7)) for _ in range(100)) + BOMB.flush()  # a gigabyte of zeros
WORDS = {b"iCCP": b"n\0\0", b"zTXt": b"n\0\0", b"iTXt": b"n\0\1\0\0\0", b"tEXt": b"n\0", b"eXIf": b""}


@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "after them"])
@pytest.mark.parametrize("kind", WORDS)
def test_a_png_may_say_much_and_nothing_of_it_is_inflated(kind: bytes, place: int) -> None:
    for words in (zlib.compress(BIG), BOMB_BYTES, BIG):
        chunk = png_chunk(kind, WORDS[kind] + words) * (2 if kind != b"iCCP" else 1)
        tracemalloc.start()
        pixels = decode_image(PNG[:place] + chunk + PNG[place:])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert pixels.tobytes() == decode_image(PNG).tobytes()
        assert peak < 10 * 2**20 + 3 * len(chunk)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_large_metadata_is_no_matter(kind: str) -> None:
    image = picture("RGB")
    exif = Image.Exif()
    exif[0x9286] = "x" * (60_000 if kind == "JPEG" else 2**21)
    words = {"icc_profile": BIG, "exif": exif, **({"xmp": BIG[:60_000]} if kind == "JPEG" else {"xmp": BIG})}
    words = {key: value for key, value in words.items() if kind != "PNG" or key != "xmp"}
    assert decode_image(encode(image, kind, **words)).tobytes() == decode_image(encode(image, kind)).tobytes()


BEFORE = {
    "newlines": b" \r\n\n",
    "byte order mark": b"\xef\xbb\xbf",
    "zeros": bytes(4096),
    "HTTP": b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n",
    "form": b'------WebKitFormBoundary7M\r\nContent-Disposition: form-data; name="f"\r\n\r\n',
    "PHP": b"<br />\n<b>Warning</b>:  session_start() in <b>/a.php</b> on line <b>3</b><br />\n",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_what_programs_put_before_a_picture_is_left_out(before: bytes, kind: str) -> None:
    content = encode(picture("RGB"), kind)
    np.testing.assert_array_equal(decode_image(before + content), decode_image(content))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (bytes(4097), r"^a JPEG behind 4,097 bytes of something else; take them away$"),
        (b"\x80binary\n", r"^a JPEG behind 8 bytes of something else"),
        ("größe\n".encode(), r"^a JPEG behind 8 bytes of something else"),
        (b"\xff", r"^a JPEG behind 1 bytes"),
        (b"%PDF-1.4\n", r"^a PDF document, not an image"),
        (b"<html>\n", r"^an HTML page, not an image"),
        (b"PK\3\4", r"^a ZIP archive or an Office document, not an image"),
    ],
)
def test_a_picture_inside_of_something_else_is_not_taken(before: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_image(before + JPEG)


def test_a_picture_after_text_that_is_cut_off_says_so() -> None:
    with pytest.raises(DecodeError, match=r"^truncated JPEG: its 300 bytes end"):
        decode_image(b"\n" + JPEG[:300])


def make_ftyp(*brands: bytes) -> bytes:
    return struct.pack(">I", 12 + 4 * len(brands)) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])


UNREAD = {
    "JPEG XL": [b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "JPEG 2000": [b"\xff\x4f\xff\x51", encode(picture("RGB"), "JPEG2000")],
    "JPEG XR": [b"II\xbc\1"],
    "a camera's RAW picture": [make_ftyp(b"crx "), b"FUJIFILMCCD-RAW 0201", b"IIRO", b"IIU\0", b"FOVb", b"\0MRM"],
    "a Photoshop picture": [b"8BPS\0\1"],
    "an icon (ICO)": [encode(picture("RGB"), "ICO", sizes=[(16, 16)])],
    "Netpbm": [encode(picture("RGB"), "PPM")],
    "DICOM": [bytes(128) + b"DICM"],
}
OTHERS = {
    "a drawing (SVG)": [
        b"<svg xmlns=",
        b"<?xml version='1.0'?>\n<!-- a -->\n<svg>",
        b"\xef\xbb\xbf<!DOCTYPE svg>\n<svg>",
    ],
    "a PDF document": [b"%PDF-1.7\n"],
    "a PostScript document": [b"%!PS-Adobe-3.0"],
    "a video": [make_ftyp(b"isom", b"mp42"), make_ftyp(b"qt  "), b"\x1aE\xdf\xa3", b"RIFF1234AVI LIST", b"\0\0\1\xba"],
    "a sound": [b"RIFF1234WAVEfmt "],
    "a ZIP archive or an Office document": [b"PK\3\4"],
    "an archive": [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\7", b"\x1f\x8b\x08"],
    "a Git LFS pointer (`git lfs pull` brings the image)": [b"version https://git-lfs.github.com/spec/v1\noid"],
    "metadata that macOS keeps beside a file": [b"\0\5\x16\7\0\2"],
    "an XML document": [b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"],
    "zeros only, as an interrupted copy leaves them": [bytes(5000)],
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_ in UNREAD.items() for content in all_])
def test_pictures_of_other_formats_are_named(name: str, content: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_image(content + b"\x80" * 200)
    assert str(caught.value) == f"{name}, which is not read; convert it to JPEG"


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_ in OTHERS.items() for content in all_])
def test_other_things_are_named(name: str, content: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_image(content)
    assert str(caught.value) == f"{name}, not an image ({len(content):,} bytes)"


@pytest.mark.parametrize(
    ("bits", "frame", "kind"),
    [
        (12, 0xC0, "12 bits a sample"),
        (12, 0xC1, "12 bits a sample"),
        (12, 0xC2, "12 bits a sample"),
        (16, 0xC3, "lossless, 16 bits a sample"),
        (8, 0xC5, "hierarchical, 8 bits a sample"),
        (8, 0xF7, "JPEG-LS, 8 bits a sample"),
    ],
)
def test_jpegs_of_other_kinds_are_named(bits: int, frame: int, kind: str) -> None:
    content = make_lossless_jpeg(np.arange(81).reshape(9, 9), bits=bits, frame=frame)
    with pytest.raises(DecodeError, match=rf"^JPEG of a kind that is not read \({kind}\); save it as baseline JPEG"):
        decode_image(content)


def test_a_lossless_jpeg_of_8_bits_is_read() -> None:
    values = RNG.integers(0, 256, (9, 9))
    pixels = decode_image(make_lossless_jpeg(values, bits=8), size=9)
    np.testing.assert_array_equal(pixels[:, :, 0], values)


def test_a_bmp_of_a_kind_that_is_not_read_is_not_called_damaged() -> None:
    content = bytearray(encode(picture("RGB"), "BMP"))
    content[28] = 2  # bits a pixel
    with pytest.raises(DecodeError, match=r"^BMP of a kind that is not read \(Unsupported BMP pixel depth \(2\)\)"):
        decode_image(bytes(content))


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
