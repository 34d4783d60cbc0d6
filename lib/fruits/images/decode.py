"""Image bytes to the pixels that MobileNetV2 sees, or a reason why not. Runs on the workers."""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

IMAGE_SIZE = 224
# What goes by the name of an image. PIL's other readers are for documents and instruments; EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
# A quarter of a gigabyte in RGB, PIL's own limit; above it PIL only warns, up to twice as much.
MAX_PIXELS = 89_478_485
# As much as a JPEG can have. PIL resizes the width first: 1 x 80,000,000 pixels would become 224 x 80,000,000.
MAX_SIDE = 65_535

Pixels = npt.NDArray[np.uint8]

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")


class DecodeError(Exception):
    """These bytes are not an image that can be read; the message says why."""


def decode_image(content: bytes, *, size: int = IMAGE_SIZE) -> Pixels:
    """Decode an image and resize it as the field does.

    PIL's `convert("RGB").resize((224, 224))`, which is bicubic: the independent EMR run that the tests
    compare with did the same. Like it, this ignores the orientation in EXIF, shows the colours under transparent
    pixels, and takes the first frame of an animation. Other than it, grey of 16 bits loses its lower 8, where PIL
    makes white of everything above 255.

    Parameters
    ----------
    content
        The bytes of a file in one of `FORMATS`, whatever its name.
    size
        Height and width of the result, pixels.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8

    Raises
    ------
    DecodeError
        For bytes that are empty, truncated, no image, or one beyond `MAX_PIXELS` or `MAX_SIDE`; one line, for people.
    MemoryError
        Naming what was decoded.
    """
    if not content:
        raise DecodeError("empty file (0 bytes)")
    # PIL's remarks on odd metadata: what matters to the pixels raises.
    with warnings.catch_warnings(action="ignore"):
        try:
            with _open_image(content) as image:
                return np.asarray(_to_rgb(image).resize((size, size)))
        except (DecodeError, TimeoutError):  # a worker's patience may end in here
            raise
        except MemoryError as error:
            raise MemoryError(f"no memory to decode {len(content):,} bytes of {_name_format(content)}") from error
        # PIL's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError and more on damaged files.
        except Exception as error:
            raise DecodeError(_explain(error, content)) from error


def _open_image(content: bytes) -> Image.Image:
    """Read the header, and refuse what would decode to more than fits."""
    # PIL's own refusal names neither width nor height.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DecodeError(
            f"{width:,} x {height:,} pixels out of {len(content):,} bytes; at most {MAX_PIXELS:,} in all and "
            f"{MAX_SIDE:,} on a side are decoded: make the image smaller"
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image.load()
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DecodeError("grey of 32 bits, which does not say how much is white; save it with 8 bits a channel")
    # A conversion of RGB to RGB would be a second copy.
    return image if image.mode == "RGB" else image.convert("RGB")


def _explain(error: Exception, content: bytes) -> str:
    """Say in a line what is wrong with the bytes that PIL raised this error for."""
    name, length = _name_format(content), f"{len(content):,} bytes"
    said = " ".join(str(error).replace("when reading image file", "").split())
    if isinstance(error, UnidentifiedImageError):
        if content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
            return f"an HTML page, not an image ({length})"
        if name != "image":
            return f"not an image: it starts like {name}, but the header is damaged or cut off ({length})"
        return f"not an image ({length} that start with {content[:8]!r}); {', '.join(FORMATS)} are read"
    if "truncated" in said.lower():
        return f"truncated {name}: its {length} end before the picture does"
    # A single word is a key or a number that PIL missed.
    return f"damaged {name} ({length}): {said if ' ' in said else 'its data cannot be decoded'}"


def _name_format(content: bytes) -> str:
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for mark, name in _SIGNATURES.items() if content.startswith(mark)), "image")
