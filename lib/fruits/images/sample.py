"""The sample: 300 fruit images that our own code renders, in the folder layout of Fruits-360.

As there, the images of a class are frames of two films of a fruit that turns once, and both splits are cut out of both
films. A fruit is a ball seen through a warped image plane, its outline; colours, pits and light live on the ball.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from PIL import Image, ImageColor

from fruits.errors import UsageError
from fruits.folders import as_folder
from fruits.ownership import list_foreign, replaced_folder

MARKER = "sample.json"
RENDERER_VERSION = 2  # raise it with every change of a pixel: older samples are then rendered anew
IMAGE_PIXELS = 100
TEST_IMAGES = 4  # of each class, two of each film
_FILMS = {"0": "", "r": "r_"}  # what their file names begin with
_FIELD = (256, 256)  # texture pixels, pole to pole and around
_Floats = npt.NDArray[np.float32]
_Ink = tuple[npt.NDArray[np.intp], _Floats, _Floats]  # pixels, their colours, how much of each is covered


@dataclass(frozen=True)
class Layer:
    """A colour where a random field (mean 0, deviation about 1) exceeds `level`; cells (40, 3) make stripes."""

    colour: str
    level: float
    cells: tuple[int, int]  # around, pole to pole
    softness: float = 1.2
    opacity: float = 0.6
    ends: tuple[float, float] = (0.0, 0.0)  # added to the field at the stem end and the far end


@dataclass(frozen=True)
class FruitStyle:
    """What the images of a class have in common; lengths in half heights of the fruit, angles in degrees."""

    name: str
    ground: str
    layers: tuple[Layer, ...]
    spots: tuple[str, int, float, float]  # colour, rows, radius and share of the cells; a share of 1 is a lattice
    outline: tuple[float, ...]  # half width as a polynomial of height, lowest power first
    squareness: float = 2.0  # exponent of the superellipse
    dimples: tuple[float, float] = (0.0, 0.0)  # depth at the stem end and the far end; below 0 a tip
    bend: float = 0.0  # curvature of the axis
    stem: tuple[str, float, float] | None = ("#5b4326", 0.45, 0.035)  # colour, length, half width
    crown: tuple[str, float, int] | None = None  # sepals: colour, length, number
    gloss: float = 0.3
    size: float = 0.88
    turn: tuple[float, float] = (-35.0, 35.0)  # in the image plane
    tilt: tuple[float, float] = (-15.0, 50.0)  # of the stem end towards the viewer
    training: int = 22  # images


# One argument a line, as the formatter wants, would make this table four screens long.
# fmt: off
CLASSES = (
    FruitStyle("Apple Braeburn", "#d9b25a", (Layer("#b3201f", -0.6, (4, 3), 1.2, 1.0), Layer("#8e1219", 0.2, (44, 3))),
        ("#e6bd86", 24, 0.08, 0.4), (1.04, 0.07), squareness=2.25, dimples=(0.15, 0.05), training=32),
    FruitStyle("Apple Golden 1", "#d8c35c", (Layer("#b9bf5a", 0.3, (3, 3)), Layer("#94703a", 1.2, (26, 20), 1.6)),
        ("#8a6a35", 22, 0.1, 0.45), (1.0, 0.05), squareness=2.3, dimples=(0.14, 0.04), gloss=0.12, training=32),
    FruitStyle("Apple Granny Smith", "#98b348", (Layer("#b9c76c", 0.3, (3, 3)),), ("#d5e0a0", 20, 0.08, 0.6),
        (1.02, 0.03), squareness=2.2, dimples=(0.13, 0.03), gloss=0.35, training=32),
    FruitStyle("Apple Red 1", "#c4453a", (Layer("#8d1420", -0.1, (40, 3), 0.8, 0.9), Layer("#dd9a55", 1.0, (36, 5))),
        ("#e8b98a", 24, 0.08, 0.4), (0.88, 0.16, 0.02), squareness=2.3, dimples=(0.17, 0.1), training=32),
    FruitStyle("Banana", "#eec932", (Layer("#a9b23c", 2, (3, 3), ends=(3, 0)), Layer("#210", 3, (5, 9), ends=(0, 5))),
        ("#6d4a20", 26, 0.2, 0.12), (0.26, 0.0, -0.07), squareness=2.2, stem=("#8f8435", 0.26, 0.07), bend=1.15,
        gloss=0.12, size=1.02, turn=(55.0, 125.0), tilt=(0.0, 0.0)),
    FruitStyle("Kiwi", "#b08d5a", (Layer("#6b4f2e", 0.5, (90, 50), 3.0), Layer("#4a351d", 3, (8, 8), ends=(3, 3))),
        ("#6b4f2e", 36, 0.15, 0.9), (0.8, 0.02), squareness=2.35, stem=("#4a351d", 0.11, 0.09), gloss=0.0),
    FruitStyle("Lemon", "#f2c81f", (Layer("#c9bb2c", 0.8, (4, 4), ends=(0.8, 0.0)),), ("#dbab16", 34, 0.22, 0.9),
        (0.8,), dimples=(-0.13, -0.2), stem=None, size=0.82, turn=(-70.0, 70.0), tilt=(-10.0, 10.0)),
    FruitStyle("Orange", "#ee7d0e", (Layer("#f79a25", 0.2, (4, 4)), Layer("#d96a08", 0.6, (70, 50))),
        ("#d66a0a", 36, 0.22, 0.9), (1.03,), stem=None, crown=("#6f7f3a", 0.13, 5), size=0.92, tilt=(0.0, 70.0)),
    FruitStyle("Plum", "#4b1428", (Layer("#7a1f34", 0.3, (3, 3)), Layer("#8583a8", 1.1, (7, 5), 2.0, ends=(0.8, 0.0))),
        ("#b08aa0", 26, 0.08, 0.3), (0.9, 0.02), dimples=(0.1, 0.0), stem=("#6a5a30", 0.3, 0.03)),
    FruitStyle("Strawberry", "#c9151b", (Layer("#8f0a14", 0.3, (4, 4)), Layer("#f0c9a0", 2.4, (8, 4), ends=(2.8, 0.0))),
        ("#f3cf74", 12, 0.2, 1.0), (0.8, 0.22, -0.08), dimples=(0.05, -0.05), gloss=0.4, size=0.84,
        stem=("#5f8a35", 0.35, 0.035), crown=("#3f7d28", 0.62, 7), tilt=(12.0, 38.0)),
)
# fmt: on


def ensure_sample(root: Path) -> int:
    """Render the sample into a folder, unless a whole one of this version is there; return the number of its images.

    A folder that holds anything else is a UsageError and stays as it is.
    """
    images = {
        f"{split}/{style.name}/{_FILMS[film]}{frame}_{IMAGE_PIXELS}.jpg": (style, film, frame)
        for style in CLASSES
        for film in _FILMS
        for split, frame in _cut_film((style.training + TEST_IMAGES) // 2)
    }
    marker = {"renderer": RENDERER_VERSION, "images": len(images)}
    if _read_marker(root) == marker and {str(file.relative_to(root)) for file in root.rglob("*.jpg")} == images.keys():
        return len(images)
    as_folder(root.parent).hold()
    earlier = {f"{path.rpartition('/')[0]}/{number}_{IMAGE_PIXELS}.jpg" for path in images for number in range(40)}
    with replaced_folder(root, names={MARKER, *images, *earlier}) as draft:
        for path, (style, film, frame) in images.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(render_fruit(style, film=film, frame=frame)).save(draft / path, "JPEG", quality=90)
        (draft / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
    return len(images)


def _cut_film(count: int) -> list[tuple[str, int]]:
    """Return the split and the number of each of so many frames of a film; numbers are degrees of the fruit's turn."""
    tests = (1, 1 + count // 2)
    return [("Test" if place in tests else "Training", 360 * place // count) for place in range(count)]


def _read_marker(root: Path) -> object:
    """Return what the marker says, None for a folder that is missing or empty."""
    if not list_foreign(root, names=()):
        return None
    with suppress(OSError, ValueError):
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
        if isinstance(marker, dict) and marker.keys() == {"renderer", "images"}:
            return marker
    raise UsageError(
        f"{root} holds something else than our sample (no valid {MARKER}) and stays as it is; the sample goes into a "
        "new or an empty folder. Move the files away, or set another input_dir in params/sample.yaml."
    )


def render_fruit(style: FruitStyle, *, film: str, frame: int) -> npt.NDArray[np.uint8]:
    """Render (100, 100, 3) uint8 RGB: fruit, size and light are the film's, the pose changes slowly with the frame."""
    seed = hashlib.blake2b(f"{style.name}/{film}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    sway, spin = 0.15 * math.sin(math.radians(frame)), rng.uniform(0.5, 1.5) + frame / 360
    pose = (low + (high - low) * (rng.uniform(0.2, 0.8) + sway) for low, high in (style.turn, style.tilt))
    turn, tilt = map(math.radians, pose)
    x, y = _body_plane(style.size * rng.uniform(0.8, 1.0), turn=turn, bend=style.bend)
    across, along = _warp_to_disc(style, x, y, tilt=tilt)
    radius = np.hypot(across, along)
    edge = (1 - radius) / (np.hypot(*np.gradient(radius)) + 1e-6) + 0.5  # distance inwards, pixels
    seen = np.flatnonzero(edge > 0)
    across, along, radius = (v.ravel()[seen] for v in (across, along, radius))
    ball = np.stack([across, along, np.sqrt(np.maximum(1 - radius**2, 0))]) / np.maximum(radius, 1)
    pole = np.array([0, math.cos(tilt), math.sin(tilt)], dtype=np.float32)
    skin = _paint_skin(style, ball, pole, spin, rng)
    body = _light(style, skin, ball, pole, turn + style.bend * y.ravel()[seen], rng)
    inks = [(seen, body, edge.ravel()[seen].clip(0, 1)), *_paint_stem_end(style, x, y, tilt, rng)]
    canvas = np.ones((3, x.size), dtype=np.float32)
    for where, colour, cover in inks if tilt >= 0 else inks[::-1]:
        under = canvas.take(where, axis=1)
        canvas[:, where] = under + (colour - under) * cover
    pixels = np.asarray(np.clip(canvas.T * 255 + 0.5, 0, 255), dtype=np.uint8)
    return np.asarray(Image.fromarray(pixels.reshape(*x.shape, 3)).reduce(2))


def _body_plane(size: float, *, turn: float, bend: float) -> tuple[_Floats, _Floats]:
    """Coordinates across and along the fruit's axis of a canvas of twice the image's pixels."""
    grid = ((np.arange(2 * IMAGE_PIXELS, dtype=np.float32) + 0.5) / IMAGE_PIXELS - 1) / size
    right, up = np.meshgrid(grid, -grid)
    x = math.cos(turn) * right + math.sin(turn) * up
    y = math.cos(turn) * up - math.sin(turn) * right
    if bend == 0:
        return x, y
    reach = 1 / bend - x - (1 - math.cos(bend)) / bend / 2
    return 1 / bend - np.hypot(reach, y), np.arctan2(y, reach) / bend


def _warp_to_disc(style: FruitStyle, x: _Floats, y: _Floats, *, tilt: float) -> list[_Floats]:
    """Coordinates in which the fruit is the unit disc."""
    height = np.clip(y, -1, 1)
    x = x / np.maximum(np.polyval(np.array(style.outline[::-1], dtype=np.float32), height), 0.05)
    depth = np.where(y > 0, style.dimples[0], -style.dimples[1]).astype(np.float32) * math.cos(tilt) ** 4
    y = y + depth * height**2 * np.exp(-((x / 0.28) ** 2))
    return [np.sign(v) * np.abs(v) ** (style.squareness / 2) for v in (x, y)]


def _paint_skin(style: FruitStyle, ball: _Floats, pole: _Floats, spin: float, rng: Generator) -> _Floats:
    height = np.clip(pole @ ball, -1, 1)
    turns = np.arctan2(ball[0], ball[2] * pole[1] - ball[1] * pole[2]) / (2 * math.pi) + spin
    around = turns - np.floor(turns)
    row, column = (np.asarray(v * (_FIELD[0] - 1), dtype=np.intp) for v in ((height + 1) / 2, around))
    near_pole = (height * height * height) ** 2
    skin = np.ones_like(ball) * _rgb(style.ground)
    for layer in style.layers:
        field = _random_field(rng, layer.cells)[row, column]
        field += np.where(height > 0, *layer.ends).astype(np.float32) * near_pole
        skin += (_rgb(layer.colour) - skin) * np.clip((field - layer.level) / layer.softness + 0.5, 0, layer.opacity)
    return skin + (_rgb(style.spots[0]) - skin) * _spot_cover(style, np.arcsin(height), around, rng)


def _random_field(rng: Generator, cells: tuple[int, int]) -> _Floats:
    """Smooth noise over height (rows) and longitude (columns, periodic)."""
    coarse = np.pad(rng.standard_normal(cells[::-1], dtype=np.float32), ((0, 0), (2, 2)), mode="wrap")
    return np.asarray(Image.fromarray(coarse).resize(_FIELD, Image.Resampling.BICUBIC, (2, 0, cells[0] + 2, cells[1])))


def _spot_cover(style: FruitStyle, latitude: _Floats, around: _Floats, rng: Generator) -> _Floats:
    _, rows, radius, share = style.spots
    u, v = around * (2 * rows), (latitude / math.pi + 0.5) * rows
    row = v.astype(np.intp)
    u += row % 2 * np.float32(0.5)
    dice = rng.random((3, (rows + 1) * (2 * rows + 2)), dtype=np.float32)
    dice = dice.take(row * (2 * rows + 2) + u.astype(np.intp), axis=1)
    du, dv = np.stack([u - np.floor(u), v - row]) - 0.5 - (dice[:2] - 0.5) * (0.5 if share < 1 else 0.06)
    return np.asarray(np.clip((radius - np.hypot(du * np.cos(latitude), dv)) * 8 + 0.5, 0, 1) * (dice[2] <= share))


def _light(style: FruitStyle, skin: _Floats, ball: _Floats, pole: _Floats, turn: _Floats, rng: Generator) -> _Floats:
    height = pole @ ball
    # Around a pole the skin leans inwards: the part of the normal across the axis changes its sign.
    pit = np.exp((np.abs(height) - 1) / 0.06) * min(max(style.dimples[0], 0) * 8, 1)
    x, y, z = ball - 1.7 * pit * (ball - height * pole[:, None])
    normal = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y, z])
    lamp = np.array([-0.42, 0.5, 0.76], dtype=np.float32) + rng.normal(0, 0.2, 3).astype(np.float32)
    halfway = lamp / np.linalg.norm(lamp) + np.array([0, 0, 1], dtype=np.float32)
    lit, shine = (np.maximum(v @ normal / np.linalg.norm(v), 0) for v in (lamp, halfway))
    tint = rng.uniform(0.8, 1.05) * rng.normal(1, 0.05, (3, 1)).astype(np.float32)
    light = (np.array([[0.36], [0.31], [0.28]], dtype=np.float32) + 0.8 * lit) * tint
    return np.asarray(skin * light * (1 - 0.55 * pit * pit) + style.gloss * np.exp(30 * shine - 30))


def _paint_stem_end(style: FruitStyle, x: _Floats, y: _Floats, tilt: float, rng: Generator) -> Iterator[_Ink]:
    up = y - math.cos(tilt) + max(style.dimples[0], 0.07)
    if style.stem:
        colour, length, width = style.stem
        along = up / (length * max(math.cos(tilt), 0.5))
        aside = (x - rng.normal(0, 0.12) * along**2) / (width * (0.8 + 0.5 * along))
        where = np.flatnonzero((np.abs(aside) < 1) & (along > 0) & (along < 1))
        yield where, _rgb(colour) * (0.9 - 0.4 * aside.ravel()[where]), np.ones(1, dtype=np.float32)
    if style.crown:
        colour, length, leaves = style.crown
        up /= max(math.sin(tilt), 0.4)
        leaf = np.abs(np.arctan2(up, x) * (leaves / (2 * math.pi)) % 1 * 2 - 1)
        reach = np.hypot(x, up)
        where = np.flatnonzero(reach < length * (0.25 + 0.75 * leaf))
        yield where, _rgb(colour) * (0.6 + 0.35 * reach + 0.3 * leaf).ravel()[where], np.ones(1, dtype=np.float32)


def _rgb(colour: str) -> _Floats:
    return np.array(ImageColor.getrgb(colour), dtype=np.float32)[:, None] / 255
