"""TIFF and lossless JPEG spelt out, for samples that PIL does not write."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = {3: "H", 4: "I"}


def pack_bits(rows: npt.NDArray[Any], bits: int) -> bytes:
    """Put samples side by side, the highest bit first, each row filled up to a byte."""
    packed = b""
    for row in rows:
        text = "".join(f"{int(value):0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        packed += int(text, 2).to_bytes(len(text) // 8, "big")
    return packed


def _spell_plane(plane: npt.NDArray[Any], *, bits: int, order: str, kind: int) -> bytes:
    rows = plane.reshape(len(plane), -1)
    if bits in (16, 32):
        return rows.astype(f"{order}{'?uif'[kind]}{bits // 8}").tobytes()
    return pack_bits(rows % 2**bits, bits)


def make_tiff(
    values: npt.NDArray[Any],
    *,
    bits: int,
    photometric: int,
    order: str = "<",
    kind: int = 1,
    planes: bool = False,
    packed: bool = False,
    reverse: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> bytes:
    """Spell a TIFF out.

    Parameters
    ----------
    values
        Rows, columns, samples.
    kind
        1 unsigned, 2 signed, 3 floats.
    planes, packed, reverse
        Samples in planes of their own; Deflate; the bits of each byte the other way round.
    tags
        More tags, of 16 bits each; one of no values is left out.
    """
    height, width, samples = values.shape
    parts = [values[:, :, [number]] for number in range(samples)] if planes else [values]
    strips = [_spell_plane(part, bits=bits, order=order, kind=kind) for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    if reverse:
        strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips]
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    fields: dict[int, Sequence[Any]] = {
        256: [width],
        257: [height],
        258: [bits] * samples,
        259: [8 if packed else 1],
        262: [photometric],
    }
    fields |= {266: [2 if reverse else 1], 273: starts[:-1], 277: [samples], 278: [height]}
    fields |= {279: list(map(len, strips)), 284: [2 if planes else 1], 339: [kind] * samples, **(tags or {})}
    return _join({tag: found for tag, found in fields.items() if found}, b"".join(strips), order)


def _join(fields: Mapping[int, Sequence[int]], data: bytes, order: str) -> bytes:
    data += b"\0" * (len(data) % 2)
    start = 8 + len(data)
    entries, tail, place = b"", b"", start + 6 + 12 * len(fields)
    for tag, found in sorted(fields.items()):
        kind = 4 if tag in (273, 279) else 3
        raw = struct.pack(order + _TYPES[kind] * len(found), *found)
        if len(raw) > 4:
            raw, tail = struct.pack(order + "I", place + len(tail)), tail + raw
        entries += struct.pack(order + "HHI", tag, kind, len(found)) + raw.ljust(4, b"\0")
    mark = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    return mark + data + struct.pack(order + "H", len(fields)) + entries + bytes(4) + tail


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def make_lossless_jpeg(values: npt.NDArray[Any], *, bits: int, frame: int = 0xC3) -> bytes:
    """Spell a lossless grey JPEG out: predictor 1, a code of 5 bits for each length of difference."""
    height, width = values.shape
    text = ""
    for (row, column), value in np.ndenumerate(values):
        before = values[row, column - 1] if column else values[row - 1, 0] if row else 2 ** (bits - 1)
        difference = int(value) - int(before)
        length = abs(difference).bit_length()
        text += f"{length:05b}"
        if length:
            text += f"{difference if difference > 0 else difference + 2**length - 1:0{length}b}"
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    head = struct.pack(">BHHB", bits, height, width, 1) + b"\1\x11\0"
    codes = bytes([0, *(17 if length == 5 else 0 for length in range(1, 17)), *range(17)])
    segments = _segment(frame, head) + _segment(0xC4, codes) + _segment(0xDA, b"\1\1\0\1\0\0")
    return b"\xff\xd8" + segments + scan + b"\xff\xd9"
