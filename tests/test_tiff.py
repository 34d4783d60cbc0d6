"""TIFF of every depth and interpretation: the pixels that its samples say, or a reason that names both."""

import io
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from tiffs import make_tiff

from fruits.images.decode import DecodeError, decode_image

SIZE = 9
NAMES = {0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
WAYS = list(itertools.product("<>", (False, True), (False, True), (False, True)))
# What must be read in the commonest layout: samples side by side, not packed, bits in order.
READ = {(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (1, 1), (1, 2), (1, 4), (1, 8), (1, 12), (1, 16), (2, 8), (2, 16)}
READ |= {(3, 1), (3, 2), (3, 4), (3, 8), (5, 8), (5, 16), (8, 8)}


def noise(photometric: int, bits: int) -> npt.NDArray[Any]:
    shape = (SIZE, SIZE, SAMPLES[photometric])
    return np.random.default_rng(bits).integers(0, 2**bits, shape, dtype=np.uint64)


def make_tags(photometric: int, bits: int) -> dict[int, list[int]]:
    colours = np.random.default_rng(0).integers(0, 2**16, 3 * 2**bits if photometric == 3 else 0).tolist()
    return {320: colours, 530: [1, 1] if photometric == 6 else []}


def right_pixels(values: npt.NDArray[Any], *, photometric: int, bits: int) -> npt.NDArray[Any]:
    if photometric == 3:
        colours = np.array(make_tags(3, bits)[320]).reshape(3, -1) >> 8
        return colours[:, values[:, :, 0].astype(int)].transpose(1, 2, 0)
    upper = values >> (bits - 8) if bits >= 8 else values * 255 // (2**bits - 1)
    bytes_ = upper.astype(np.uint8)
    if photometric in (0, 1):
        return np.repeat(255 - bytes_ if photometric == 0 else bytes_, 3, axis=2)
    mode = {2: "RGB", 5: "CMYK", 6: "YCbCr", 8: "LAB"}[photometric]
    return np.asarray(Image.frombytes(mode, (SIZE, SIZE), bytes_.tobytes()).convert("RGB"))


def try_decoding(content: bytes) -> npt.NDArray[Any] | str:
    try:
        return decode_image(content, size=SIZE)
    except DecodeError as error:
        return str(error)


@pytest.mark.parametrize(
    ("photometric", "bits"),
    # The standard has no palettes of more than 256 colours.
    [(name, bits) for name in NAMES for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32) if name != 3 or bits <= 8],
)
def test_pixels_are_right_or_refused_by_name(photometric: int, bits: int) -> None:
    values, read = noise(photometric, bits), set()
    for order, planes, packed, reverse in WAYS:
        ways: dict[str, Any] = {"order": order, "planes": planes, "packed": packed, "reverse": reverse}
        content = make_tiff(values, bits=bits, photometric=photometric, tags=make_tags(photometric, bits), **ways)
        found = try_decoding(content)
        if isinstance(found, str):
            shown = "-".join([str(bits)] * SAMPLES[photometric]) + " bits a sample" + " in separate planes" * planes
            name = f"photometric interpretation {photometric} ({NAMES[photometric]})"
            assert found.startswith(f"TIFF with {shown}, unsigned, {name}, which is not read; save it as grey or RGB")
        else:
            right = right_pixels(values, photometric=photometric, bits=bits)
            # Of YCbCr libtiff rounds in another way than PIL.
            np.testing.assert_allclose(found.astype(int), right, atol=1 if photometric == 6 else 0)
            read.add((order, planes, packed, reverse))
    if (photometric, bits) in READ:
        assert ("<", False, False, False) in read


@pytest.mark.parametrize(
    ("bits", "kind", "name"),
    [(8, 2, "signed"), (16, 2, "signed"), (32, 2, "signed"), (32, 3, "floating point")],
)
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_samples_that_are_not_unsigned_are_refused(photometric: int, bits: int, kind: int, name: str) -> None:
    content = make_tiff(noise(photometric, 7).astype(np.int64) - 64, bits=bits, photometric=photometric, kind=kind)
    with pytest.raises(
        DecodeError, match=rf"{bits} bits a sample, {name}, photometric interpretation {photometric} \("
    ):
        decode_image(content)


def test_a_missing_interpretation_is_not_guessed() -> None:
    content = make_tiff(noise(1, 8), bits=8, photometric=1, tags={262: []})
    with pytest.raises(DecodeError, match=r"photometric interpretation missing \(unknown\)"):
        decode_image(content)


def test_a_palette_of_8_bit_colours_is_not_black() -> None:
    colours = np.random.default_rng(0).integers(0, 2**8, 3 * 16)
    content = make_tiff(noise(3, 4), bits=4, photometric=3, tags={320: colours.tolist()})
    right = colours.reshape(3, -1)[:, noise(3, 4)[:, :, 0].astype(int)].transpose(1, 2, 0)
    np.testing.assert_array_equal(decode_image(content, size=SIZE), right)


@pytest.mark.parametrize("tags", [{50706: [1]}, {254: [1], 330: [8]}], ids=["DNG", "a preview first"])
def test_raw_pictures_are_named_and_their_thumbnail_is_not_taken(tags: dict[int, list[int]]) -> None:
    content = make_tiff(noise(2, 8), bits=8, photometric=2, tags=tags)
    with pytest.raises(DecodeError, match=r"^a camera's RAW picture \(TIFF\), which is not read; convert it to JPEG$"):
        decode_image(content)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate", "group4"])
@pytest.mark.parametrize("big", [False, True])
def test_what_pil_writes_is_read(compression: str | None, big: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image = Image.fromarray(pixels).convert("1" if compression == "group4" else "RGB")
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression=compression, big_tiff=big)
    right = np.asarray(Image.open(stream).convert("RGB"))
    np.testing.assert_array_equal(decode_image(stream.getvalue(), size=SIZE), right)


def test_large_metadata_is_no_matter() -> None:
    words = ImageFileDirectory_v2()
    words[700], words.tagtype[700] = bytes(5 * 2**20), 1
    stream = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(stream, "TIFF", tiffinfo=words, icc_profile=bytes(2**21))
    assert decode_image(stream.getvalue(), size=SIZE).tolist() == [[[1, 2, 3]] * SIZE] * SIZE
