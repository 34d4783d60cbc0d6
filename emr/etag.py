"""S3's ETag of a file, computed here: the checksum that uploads and downloads are verified by.

With SSE-S3 the ETag of an object put in one piece is its MD5; of one put in parts, the MD5 of the parts' MD5s and
their number (docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
"""

import hashlib
from pathlib import Path

PART_BYTES = 16 * 2**20


def etag_of(file: Path, *, part_bytes: int = PART_BYTES, parts: bool | None = None) -> str:
    """Compute the ETag that S3 gives a file.

    Parameters
    ----------
    part_bytes
        Size of the parts of a multipart upload.
    parts
        Whether the object was put in parts; None: as boto3 does, from `part_bytes` on.
    """
    size = file.stat().st_size
    if not (size >= part_bytes if parts is None else parts):
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, _md5).hexdigest()
    digests = []
    with file.open("rb") as stream:
        while chunk := stream.read(part_bytes):
            digests.append(_md5(chunk).digest())
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def _md5(content: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)
