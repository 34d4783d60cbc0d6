"""Image bytes to the pixels that a network sees, or a reason why not. Runs on the workers."""

import functools
import io
import struct
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from fruits.images.formats import FORMATS, describe_jpeg, name_decoded, name_hidden, name_other, skip_to_picture
from fruits.images.orientation import UPRIGHT, read_orientation
from fruits.images.tiff import UnreadTiffError, check_tiff, describe_tiff, read_grey, widen_palette
from fruits.networks import DEFAULT

# A quarter of a gigabyte in RGB, PIL's own limit; above it PIL only warns, up to twice as much.
MAX_PIXELS = 89_478_485
# As much as a JPEG can have. PIL resizes the width first: 1 x 80,000,000 pixels would become many times as many.
MAX_SIDE = 65_535

Pixels = npt.NDArray[np.uint8]

# What upright pixels need, by the orientation in EXIF.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What a PNG says besides its pixels. PIL inflates it, and refuses pictures for what it grows to.
_PNG_WORDS = {b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf"}
# PIL's own readers.
_OWN = [name for name in FORMATS if name != "HEIF"]


class DecodeError(Exception):
    """These bytes are not an image that can be read; the message says why."""


def decode_image(content: bytes, *, size: int = DEFAULT.size, draft: bool = False) -> Pixels:
    """Decode an image and resize it as the field does, to an array of shape (size, size, 3), uint8.

    PIL's `convert("RGB").resize((size, size))`, which is bicubic, as the EMR run had it that the tests compare
    with: it shows the colours under transparent pixels, and takes the first of several frames. Other than it, the
    picture is then turned as EXIF says, grey of 12 or 16 bits keeps its upper 8, and text or zeros before it are
    left out. With `draft` the decoder of JPEG shrinks large images itself: several times as fast, and for people only.

    A DecodeError says in one line, for people, why bytes are no image that is read.
    """
    if not content:
        raise DecodeError("empty file (0 bytes)")
    content = skip_to_picture(content)
    # PIL's remarks on odd metadata: what matters to the pixels raises.
    with warnings.catch_warnings(action="ignore"):
        try:
            with _open_image(content) as image:
                # libjpeg does not shrink lossless JPEG (its marker is FF C3), and PIL would write beyond its buffer.
                if draft and name_decoded(content) == "JPEG" and b"\xff\xc3" not in content:
                    image.draft(None, (size, size))
                resized, orientation = _to_rgb(image).resize((size, size)), read_orientation(content)
                # To turn it last is faster than to turn the large one.
                return np.asarray(resized if orientation == UPRIGHT else resized.transpose(_TURNS[orientation]))
        except (DecodeError, TimeoutError):  # a worker's patience may end in here
            raise
        except MemoryError as error:
            raise MemoryError(f"no memory to decode {len(content):,} bytes of {name_decoded(content)}") from error
        # PIL's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError and more on damaged files.
        except Exception as error:
            raise DecodeError(_explain(error, content)) from error


def _open_image(content: bytes) -> Image.Image:
    """Read the header, and refuse what would decode to more than fits."""
    name = name_decoded(content)
    if name == "TIFF":
        check_tiff(content)
    elif name == "PNG":
        content = _drop_words(content)
    elif name == "HEIF":
        _register_heif()
    # PIL's own refusal names neither width nor height.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        # PIL's other readers are for documents and instruments; EPS starts Ghostscript.
        image = Image.open(io.BytesIO(content), formats=[name] if name else _OWN)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DecodeError(
            f"{width:,} x {height:,} pixels out of {len(content):,} bytes; at most {MAX_PIXELS:,} in all and "
            f"{MAX_SIDE:,} on a side are decoded: make the image smaller"
        )
    return image


@functools.cache
def _register_heif() -> None:
    """Make PIL read HEIF; importing this takes a process a fifth of a second."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise DecodeError("HEIF, which needs the package pillow-heif; install it on every node") from error
    # The cores are busy with other images.
    register_heif_opener(thumbnails=False, decode_threads=1)


def _drop_words(png: bytes) -> bytes:
    """Leave out text, colour profile and EXIF, however large they are or would be."""
    chunks, place = [png[:8]], 8
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        end = place + length + 12
        if kind not in _PNG_WORDS:
            chunks.append(png[place:end])
        place = end
    return b"".join(chunks)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image.load()
        bits, inverted = read_grey(image)
        grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        return Image.fromarray(255 - grey if inverted else grey).convert("RGB")
    if image.mode in ("P", "PA"):
        widen_palette(image)
    # A conversion of RGB to RGB would be a second copy.
    return image if image.mode == "RGB" else image.convert("RGB")


def _explain(error: Exception, content: bytes) -> str:
    """Say in a line what is wrong with the bytes that PIL raised this error for."""
    name, length = name_decoded(content) or "image", f"{len(content):,} bytes"
    said = " ".join(str(error).replace("when reading image file", "").split())
    if isinstance(error, UnreadTiffError):
        return said
    if name == "JPEG" and (kind := describe_jpeg(content)):
        return f"JPEG of a kind that is not read ({kind}); save it as baseline JPEG with 8 bits a sample"
    if isinstance(error, UnidentifiedImageError):
        return _explain_unknown(content)
    if "truncated" in said.lower():
        return f"truncated {name}: its {length} end before the picture does"
    if "raw mode" in said:
        return describe_tiff(content) or said
    if "unsupported" in said.lower():
        return f"{name} of a kind that is not read ({said}); save it as JPEG, or with 8 bits a sample"
    # A single word is a key or a number that PIL missed.
    return f"damaged {name} ({length}): {said if ' ' in said else 'its data cannot be decoded'}"


def _explain_unknown(content: bytes) -> str:
    name, length = name_decoded(content), f"{len(content):,} bytes"
    if name is None:
        other = name_other(content) or name_hidden(content)
        if other is None:
            return f"not an image ({length} that start with {content[:8]!r}); {', '.join(FORMATS)} are read"
        return other if ";" in other else f"{other} ({length})"
    if name == "TIFF" and (kind := describe_tiff(content)):
        return kind
    return f"not an image: it starts like {name}, but the header is damaged or cut off ({length})"
