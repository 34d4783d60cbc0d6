"""Numbers and texts in and out of Arrow columns, on workers that never import pandas.

`pa.array` looks whether it was given something of pandas and imports it for that: 1-2 seconds of every worker's
start. These views of the same memory do without.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# What `mapInArrow` applies to the batches of a task.
MapBatches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def to_column(values: npt.NDArray[np.generic]) -> pa.Array:
    """View numbers of shape (n,) as an Arrow column of their type."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def to_lists(matrix: npt.NDArray[np.generic]) -> pa.ListArray:
    """View a matrix of shape (n, d) as an Arrow column of n lists."""
    bounds = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(to_column(bounds), to_column(matrix.ravel()))


def to_binary(*contents: bytes) -> pa.Array:
    """Make an Arrow column of binary values."""
    bounds = pa.py_buffer(np.cumsum([0, *map(len, contents)], dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), len(contents), [None, bounds, pa.py_buffer(b"".join(contents))])


def to_strings(texts: Iterable[str]) -> pa.Array:
    """Make an Arrow column of texts."""
    return to_binary(*(text.encode() for text in texts)).view(pa.string())


def to_matrix(lists: pa.ListArray) -> npt.NDArray[np.generic]:
    """View an Arrow column of n lists of one length d as a matrix of shape (n, d)."""
    values: npt.NDArray[np.generic] = np.from_dlpack(lists.flatten())
    return values.reshape(len(lists), -1)
