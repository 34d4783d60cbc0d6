"""Pictures that are stored turned: EXIF of each format, against PIL's own reading; broken EXIF is no harm."""

import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from fruits.images.decode import decode_image
from fruits.images.orientation import UPRIGHT, read_orientation
from fruits.images.source import hash_content

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 9, 3), np.uint8)).resize((90, 50))


def encode(kind: str, orientation: int | None) -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    if orientation is not None:
        exif[0x010F], exif[0x0112] = "a maker", orientation
    PICTURE.save(stream, kind, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pil_turns_it(kind: str, orientation: int) -> None:
    content = encode(kind, orientation)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB").resize((64, 64))
    # It is resized first: the other way round, rounding differs.
    assert np.abs(decode_image(content, size=64).astype(int) - np.asarray(right)).max() <= 3
    # PIL turns a TIFF when it reads it, as it did in earlier versions: its stored features stay right.
    turned = orientation != UPRIGHT and kind != "TIFF"
    assert read_orientation(content) == (orientation if turned else UPRIGHT)
    assert hash_content(content) == hashlib.sha256(content).hexdigest() + "-turned" * turned


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_a_picture_without_orientation_keeps_its_hash(kind: str) -> None:
    content = encode(kind, None)
    assert (read_orientation(content), hash_content(content)) == (UPRIGHT, hashlib.sha256(content).hexdigest())


def test_text_before_a_picture_does_not_hide_its_orientation() -> None:
    content = b"\r\n" + encode("JPEG", 3)
    np.testing.assert_array_equal(decode_image(content), decode_image(encode("JPEG", None))[::-1, ::-1])
    assert hash_content(content).endswith("-turned")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_leaves_the_picture_as_it_is(kind: str) -> None:
    whole = encode(kind, 6)
    directory = whole.index(b"MM\0*")
    broken = [
        whole[:directory] + text + whole[directory + len(text) :]
        for text in (b"XX", struct.pack(">4sI", b"MM\0*", 2**32 - 1), struct.pack(">4sI", b"MM\0*", len(whole)))
    ]
    entry = whole.index(struct.pack(">HH", 0x0112, 3))
    broken += [
        whole[:entry] + struct.pack(">HHIH", 0x0112, 3, 1, value) + whole[entry + 10 :] for value in (0, 9, 6000)
    ]
    broken.append(whole[:entry] + struct.pack(">HH", 0x0112, 7) + whole[entry + 4 :])
    assert {read_orientation(content) for content in broken} == {UPRIGHT}
    if kind != "PNG":  # its checksums no longer match
        for content in broken:
            np.testing.assert_array_equal(decode_image(content), decode_image(encode(kind, None)))
    assert {read_orientation(whole[:end]) for end in range(len(whole))} <= {UPRIGHT, 6}
