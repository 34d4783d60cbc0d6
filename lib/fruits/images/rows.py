"""The rows of our tables: images, errors and ignored files. Other modules take names, types and schemas from here."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

_TYPES = {
    "path": pa.string(),  # relative to the input folder, with `/`
    "label": pa.string(),  # the class
    "split": pa.string(),
    "length": pa.int64(),  # bytes
    "modified": pa.int64(),  # nanoseconds since 1970
    "digest": pa.string(),  # identifies the content: `source.hash_content`, or its tag in S3; empty if unknown
    "etag": pa.string(),  # the tag in S3; empty for local files
    "content": pa.binary(),
    "features": pa.list_(pa.float32()),
    "pca": pa.list_(pa.float32()),
}
_SPARK_TYPES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.binary(): "binary",
    pa.list_(pa.float32()): "array<float>",
}

# The split of images that lie in none. Whoever asks for it gets every image, of all splits.
ALL = "all"
NAMES = ("path", "label", "split")
LISTED = (*NAMES, "length", "modified", "digest")
PACKED = (*LISTED, "content")
STORED = (*LISTED, "etag", "features")
SCORED = (*NAMES, "pca")
# Earlier versions identified a stored image by this alone.
EARLIER_KEY = ("path", "length", "modified")
KEY = (*EARLIER_KEY, "digest", "etag")


class ErrorRow(NamedTuple):
    """An image without features; `stage` is `read` or `decode`."""

    path: str
    stage: str
    reason: str


class IgnoredRow(NamedTuple):
    """A file or folder that is not listed; `kind` is a suffix such as `.txt`, `no suffix`, `hidden`, `system`, ..."""

    path: str
    kind: str
    reason: str


def arrow_schema(columns: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of some columns."""
    return pa.schema([(name, _TYPES[name]) for name in columns])


def spark_schema(columns: Sequence[str]) -> str:
    """Return the Spark schema of some columns, as DDL text."""
    return ", ".join(f"{name} {_SPARK_TYPES[_TYPES[name]]}" for name in columns)
