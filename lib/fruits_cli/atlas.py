"""`atlas.html`: all images of a run as points, in one file that needs no network and no other file."""

import base64
import gzip
import hashlib
import html
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fruits.folders import write_bytes

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).with_name("templates") / "atlas"
# The colours and the font of all our pages.
_PALETTE = TEMPLATE.parent / "reader" / "palette.css"
THUMBNAIL = 32
NEIGHBOURS = 5
UNKNOWN = "unknown"
# Thumbnails on each side of a sheet: small enough that the last sheet uses up what the limit leaves.
_SIDE = 16
_QUALITY = 35
_READERS = 8
# Images that are read together, by path: packed ones lie in groups of 1,024, and a group is read for each of its images
# that does not follow another one.
_READ_AHEAD = 32 * _SIDE**2

Integers = npt.NDArray[np.int64]
ReadImage = Callable[[str], Image.Image | None]


def size_limit(points: int) -> int:
    """Return how many bytes the page may have: 5 MB for 67,692 points, 6 MB for 90,380."""
    return 2_000_000 + 44 * points


def write_atlas(points: "pd.DataFrame", page: Path, *, title: str, read_image: ReadImage) -> None:
    """Write the page.

    Thumbnails are made until the page reaches `size_limit`, evenly from all films. An image without a thumbnail shows
    that of the nearest frame of the same class, split and film, and says so.

    Parameters
    ----------
    points
        One row for each image: `path`, `label`, `split` (str), `group` (the film, str, empty if unknown), `frame` (int,
        -1 if unknown), `x`, `y` (float), `right` (nullable boolean: the nearest neighbour has the same class),
        `suspect` (bool), `neighbours` (up to five row numbers, counted from 0). `embedding_x` and `embedding_y` (float)
        may be missing.
    page
        The HTML file.
    title
        Plain text.
    read_image
        Opens an image by its path; several threads call it. None if it cannot be read.
    """
    order = np.lexsort([points[name] for name in ("frame", "split", "group", "label")])
    rows = points.iloc[order].reset_index(drop=True)
    neighbours = _number_neighbours(rows["neighbours"], order)
    runs, ranks, frames = _find_runs(rows)
    # Before the thumbnails are known, these two columns are as hard to compress as they can become.
    guess = np.random.default_rng(0).integers(_SIDE, size=len(rows))
    room = size_limit(len(rows)) - len(_fill(title, _pack(rows, neighbours, sheet=guess, shows=guess), []))
    sheets: list[bytes] = []
    sheet_of = np.full(len(rows), -1)
    for kept, content in _make_sheets(rows["path"].tolist(), _rank_rows(ranks), read_image=read_image):
        room -= len(_fill_sheet(content))
        if room < 0:
            break
        sheet_of[kept] = len(sheets)
        sheets.append(content)
    shows = find_shown(runs, frames, kept=np.flatnonzero(sheet_of >= 0))
    write_bytes(page, _fill(title, _pack(rows, neighbours, sheet=sheet_of, shows=shows), sheets))


def find_shown(runs: Integers, frames: Integers, *, kept: Integers) -> Integers:
    """Return for each row the row whose thumbnail it shows: the nearest kept one of its run, or -1.

    Parameters
    ----------
    runs, frames
        One integer for each row, sorted by both; frames are 0 or more.
    kept
        Rows that have a thumbnail, ascending.
    """
    if not len(kept):
        return np.full(len(runs), -1)
    keys = (runs << 32) + frames
    after = np.searchsorted(keys[kept], keys).clip(max=len(kept) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(abs(keys[kept[before]] - keys) < abs(keys[kept[after]] - keys), before, after)
    shown: Integers = np.where(runs[kept[nearest]] == runs, kept[nearest], -1)
    # Frames may have the same number; an image that has a thumbnail shows its own.
    shown[kept] = kept
    return shown


def _find_runs(rows: "pd.DataFrame") -> tuple[Integers, Integers, Integers]:
    """Return each row's run (frames of one class, film and split), its place in the run, and its frame."""
    runs = rows.groupby(["label", "group", "split"], sort=False).ngroup().to_numpy(np.int64)
    ranks = np.arange(len(rows)) - np.flatnonzero(np.diff(runs, prepend=-1))[runs]
    frames = rows["frame"].to_numpy(np.int64)
    # Where not every frame of a run is known, their order stands for the numbers.
    frames = np.where(np.isin(runs, runs[frames < 0]), ranks, frames)
    return runs, ranks, frames


def _number_neighbours(neighbours: "pd.Series[list[int]]", order: Integers) -> Integers:
    """Return the neighbours, shape (n, 5), by their row numbers after the rows were put in an order; -1 for none."""
    place: Integers = np.full(len(order) + 1, -1)
    place[order] = np.arange(len(order))
    padded = [[*found, *[-1] * NEIGHBOURS][:NEIGHBOURS] for found in neighbours]
    numbered: Integers = place[np.array(padded, np.int64).reshape(-1, NEIGHBOURS)]
    return numbered


def _rank_rows(ranks: Integers) -> Integers:
    """Order rows so that any first part of them takes frames evenly: each film's first, its middle ones, and so on."""
    spacing = np.where(ranks == 0, 1 << 32, ranks & -ranks)
    order: Integers = np.lexsort([np.random.default_rng(0).random(len(ranks)), -spacing])
    return order


def _make_sheets(paths: list[str], order: Integers, *, read_image: ReadImage) -> Iterator[tuple[Integers, bytes]]:
    """Yield rows and the WebP file with their thumbnails, in the order of the rows; unreadable images are left out."""

    def shrink(row: int) -> Image.Image | None:
        image = read_image(paths[row])
        return image and ImageOps.pad(image.convert("RGB"), (THUMBNAIL, THUMBNAIL), color="white")

    images: dict[int, Image.Image | None] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(order), _SIDE**2):
            if start % _READ_AHEAD == 0:
                ahead = sorted(order[start : start + _READ_AHEAD], key=paths.__getitem__)
                images = dict(zip(ahead, readers.map(shrink, ahead), strict=True))
            rows = np.sort(order[start : start + _SIDE**2])
            read = [(row, image) for row in rows if (image := images[row])]
            sheet = Image.new("RGB", (_SIDE * THUMBNAIL, _SIDE * THUMBNAIL), "white")
            for place, (_, image) in enumerate(read):
                sheet.paste(image, (place % _SIDE * THUMBNAIL, place // _SIDE * THUMBNAIL))
            if read:
                content = io.BytesIO()
                sheet.save(content, "WEBP", quality=_QUALITY, method=5)
                yield np.array([row for row, _ in read]), content.getvalue()


def _pack(rows: "pd.DataFrame", neighbours: Integers, *, sheet: Integers, shows: Integers) -> bytes:
    """Return all but the pictures, compressed: four bytes of length, a header in JSON, the columns."""
    import pandas as pd

    columns: dict[str, Integers] = {"sheet": sheet, "shows": shows, "frame": rows["frame"].to_numpy(np.int64)}
    texts: dict[str, list[str]] = {}
    for name in ("label", "group", "split"):
        codes, names = pd.factorize(rows[name], sort=True)
        columns[name], texts[name] = codes.astype(np.int64), [str(text) or UNKNOWN for text in names]
    columns["right"] = rows["right"].astype("boolean").map({True: 0, False: 1}).fillna(2).to_numpy(np.int64)
    columns["suspect"] = rows["suspect"].to_numpy(np.int64)
    texts |= {"right": ["right", "wrong", UNKNOWN], "suspect": ["no", "yes"]}
    for view in ("", "embedding_"):
        if f"{view}x" in rows:
            places = rows[[f"{view}x", f"{view}y"]].to_numpy(float)
            low = places.min(axis=0)
            scale = 65_535 / (float(np.ptp(places, axis=0).max()) or 1.0)
            columns |= zip((f"{view}x", f"{view}y"), np.rint((places - low) * scale).astype(np.int64).T, strict=True)
    columns |= {f"neighbour_{place}": column for place, column in enumerate(neighbours.T) if (column >= 0).any()}
    header = json.dumps({"count": len(rows), "columns": [*columns], "texts": texts, "paths": rows["path"].tolist()})
    content = len(header).to_bytes(4, "little") + header.encode() + b"".join(map(_encode, columns.values()))
    return gzip.compress(content, mtime=0)


def _encode(column: Integers) -> bytes:
    """Encode a column as differences, small ones first (zigzag), in four planes of bytes: gzip shrinks this most."""
    steps = np.diff(column, prepend=0)
    zigzag = ((steps << 1) ^ (steps >> 63)).astype("<u4")
    return zigzag.view(np.uint8).reshape(-1, 4).T.tobytes()


def _fill_sheet(content: bytes) -> str:
    return f'<script type="image/webp">{base64.b64encode(content).decode()}</script>\n'


def _fill(title: str, packed: bytes, sheets: list[bytes]) -> bytes:
    """Fill the template; scripts and styles are allowed by their hashes, and nothing else."""
    files = (_PALETTE, *(TEMPLATE / name for name in ("atlas.css", "map.js", "page.js")))
    palette, own, *scripts = (file.read_text(encoding="utf-8") for file in files)
    style, script = palette + own, "".join(scripts)
    fields = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "points": base64.b64encode(packed).decode(),
        "sheets": "".join(map(_fill_sheet, sheets)),
        "side": str(_SIDE),
        "thumbnail": str(THUMBNAIL),
    }
    # Text and fields by turns: what a field holds is not searched for fields.
    parts = (TEMPLATE / "atlas.html").read_text(encoding="utf-8").split("%%")
    return "".join(fields[part] if place % 2 else part for place, part in enumerate(parts)).encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
