"""Image bytes to the pixels that MobileNetV2 sees, or a reason why not. Runs on the workers."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

IMAGE_SIZE = 224
Pixels = npt.NDArray[np.uint8]


class DecodeError(Exception):
    """These bytes are not an image that can be read; the message says why."""


def decode_image(content: bytes, *, size: int = IMAGE_SIZE) -> Pixels:
    """Decode an image and resize it as the field does.

    PIL's `convert("RGB").resize((224, 224))`, which is bicubic: the independent EMR run that the tests
    compare with did the same.

    Parameters
    ----------
    content
        The bytes of a file in any format that PIL reads.
    size
        Height and width of the result, pixels.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8

    Raises
    ------
    DecodeError
        For bytes that are empty, truncated or no image.
    """
    if not content:
        raise DecodeError("empty file (0 bytes)")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB").resize((size, size)))
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise DecodeError(f"not an image ({len(content)} bytes that start with {content[:8]!r})") from error
    # PIL's readers raise OSError, SyntaxError, ValueError, struct.error, EOFError and more on damaged files.
    except Exception as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error
