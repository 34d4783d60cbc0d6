"""The page of all images: what is in it comes out of it, whatever the names; its size; its thumbnails."""

import base64
import gzip
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import find_tag
from PIL import Image

from fruits_cli.atlas import find_shown, size_limit, write_atlas

COLOURS = {"red": (250, 20, 20), "blue": (20, 20, 250)}
NASTY = "</script><!-- %%points%% \"'&\n\u2028 é 梨"


def make_points(count: int, *, label: str = "red", frames: int = 100) -> pd.DataFrame:
    row = np.arange(count)
    return pd.DataFrame(
        {
            "path": [f"Training/{label}/{number}.jpg" for number in row],
            "label": label,
            "split": "Training",
            "group": [str(number // frames) for number in row],
            "frame": row % frames,
            "x": np.linspace(-1, 1, count),
            "y": np.linspace(0, 1, count),
            "right": pd.array([True] * count, dtype="boolean"),
            "suspect": False,
            "neighbours": [[]] * count,
        }
    )


def read_colour(path: str) -> Image.Image | None:
    return Image.new("RGB", (100, 60), COLOURS[path.split("/")[1]])


def read_page(page: Path) -> dict[str, Any]:
    """Decode a page as its script does."""
    html = BeautifulSoup(page.read_bytes(), "html.parser")
    content = gzip.decompress(base64.b64decode(find_tag(html, "#data").get_text()))
    start = 4 + int.from_bytes(content[:4], "little")
    found: dict[str, Any] = json.loads(content[4:start])
    planes = np.frombuffer(content, np.uint8, offset=start).reshape(len(found["columns"]), 4, found["count"])
    zigzag = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<u4")[..., 0].astype(np.int64)
    columns = np.cumsum((zigzag >> 1) ^ -(zigzag & 1), axis=1)
    sheets = [base64.b64decode(tag.get_text()) for tag in html.select('script[type="image/webp"]')]
    return found | {"columns": dict(zip(found["columns"], columns, strict=True)), "sheets": sheets, "html": html}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    points = pd.concat([make_points(3, label="red"), make_points(2, label="blue")], ignore_index=True)
    points["split"] = ["Test", "Training", "Training", "Training", "Training"]
    points["group"] = ["r", "", "", "0", "0"]
    points["right"] = pd.array([True, False, None, None, True], dtype="boolean")
    points["suspect"] = [False, False, True, False, False]
    points["neighbours"] = [[1, 2, 3, 4, 0], [0], [], [4], [3]]
    points["embedding_x"], points["embedding_y"] = [0.0, 1, 2, 3, 4], [0.0, 0, 0, 0, 2]

    write_atlas(points, tmp_path / "atlas.html", title="A", read_image=read_colour)

    found = read_page(tmp_path / "atlas.html")
    columns, place = found["columns"], {path: row for row, path in enumerate(found["paths"])}
    rows = [place[path] for path in points["path"]]
    named = {name: [found["texts"][name][code] for code in columns[name][rows]] for name in found["texts"]}
    assert named == {
        "label": ["red", "red", "red", "blue", "blue"],
        "split": ["Test", *["Training"] * 4],
        "group": ["r", "unknown", "unknown", "0", "0"],
        "right": ["right", "wrong", "unknown", "unknown", "right"],
        "suspect": ["no", "no", "yes", "no", "no"],
    }
    assert columns["frame"][rows].tolist() == [0, 1, 2, 0, 1]
    assert columns["x"][rows].tolist() == [0, 32768, 65535, 0, 65535]
    assert columns["embedding_y"][rows].tolist() == [0, 0, 0, 0, 32768], "both axes have one scale"
    assert [columns[f"neighbour_{number}"][rows[0]] for number in range(5)] == [rows[row] for row in (1, 2, 3, 4, 0)]
    assert [columns[f"neighbour_{number}"][rows[1]] for number in range(2)] == [rows[0], -1]


def test_thumbnails_are_those_of_their_images(tmp_path: Path) -> None:
    points = pd.concat([make_points(3, label="red"), make_points(2, label="blue")], ignore_index=True)
    write_atlas(points, tmp_path / "atlas.html", title="A", read_image=read_colour)

    found = read_page(tmp_path / "atlas.html")
    (sheet,) = found["sheets"]
    side, size = (int(found["html"].select_one("#data")[f"data-{name}"]) for name in ("side", "thumbnail"))
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.size == (side * size, side * size)
        for place, path in enumerate(found["paths"]):
            middle = picture.convert("RGB").getpixel((place * size + size // 2, size // 2))
            assert np.abs(np.subtract(middle, COLOURS[path.split("/")[1]])).max() < 30
    assert found["columns"]["shows"].tolist() == [0, 1, 2, 3, 4]


def test_images_are_read_by_path_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed images that are read in any other order cost a group of 1,024 each."""
    monkeypatch.setattr("fruits_cli.atlas._READERS", 1)
    points, asked = pd.concat([make_points(300, label=label) for label in ("red", "blue")], ignore_index=True), []

    def read(path: str) -> Image.Image | None:
        asked.append(path)
        return read_colour(path)

    write_atlas(points, tmp_path / "atlas.html", title="A", read_image=read)

    assert asked == sorted(points["path"])
    assert len(read_page(tmp_path / "atlas.html")["sheets"]) == 3


@pytest.mark.parametrize("readable", [True, False])
def test_unreadable_images_have_no_thumbnail(tmp_path: Path, readable: bool) -> None:
    def read(path: str) -> Image.Image | None:
        return read_colour(path) if readable and path.endswith("0.jpg") else None

    write_atlas(make_points(3), tmp_path / "atlas.html", title="A", read_image=read)

    found = read_page(tmp_path / "atlas.html")
    assert found["columns"]["shows"].tolist() == ([0, 0, 0] if readable else [-1, -1, -1])
    assert len(found["sheets"]) == readable


def test_any_name_is_only_text(tmp_path: Path) -> None:
    points = make_points(2).assign(label=NASTY, split=NASTY, group=NASTY, path=[NASTY, "b"])
    write_atlas(points, tmp_path / "atlas.html", title=NASTY, read_image=lambda path: None)

    found = read_page(tmp_path / "atlas.html")
    assert (found["paths"], found["texts"]["label"]) == ([NASTY, "b"], [NASTY])
    html = found["html"]
    assert html.title.get_text() == html.h1.get_text() == NASTY
    assert [script.get("type") for script in html.find_all("script")] == ["text/plain", "module"]


def test_only_the_page_s_own_script_and_style_may_run(tmp_path: Path) -> None:
    write_atlas(make_points(2), tmp_path / "atlas.html", title="A", read_image=read_colour)

    html = read_page(tmp_path / "atlas.html")["html"]
    policy = html.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
    hashes = {
        name: base64.b64encode(hashlib.sha256(html.select_one(where).get_text().encode()).digest()).decode()
        for name, where in {"script": "script[type=module]", "style": "style"}.items()
    }
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|eval|innerHTML", str(html))


def test_thumbnails_fill_the_page_evenly_up_to_its_limit(tmp_path: Path) -> None:
    points = make_points(12_000, frames=300)

    def read_noise(path: str) -> Image.Image:
        seed = int(path.split("/")[-1].removesuffix(".jpg"))
        return Image.fromarray(np.random.default_rng(seed).integers(256, size=(32, 32, 3), dtype=np.uint8))

    write_atlas(points, tmp_path / "atlas.html", title="A", read_image=read_noise)

    assert 0.8 * size_limit(12_000) < (tmp_path / "atlas.html").stat().st_size <= size_limit(12_000)
    columns = read_page(tmp_path / "atlas.html")["columns"]
    kept = pd.Series(columns["sheet"] >= 0).groupby(columns["group"]).sum()
    assert len(kept) == 40
    assert 0 < kept.sum() < 12_000
    assert kept.max() <= 2 * kept.min(), "no film has more than twice the thumbnails of another"


def test_the_limit_is_the_promised_one() -> None:
    assert size_limit(67_692) <= 5_000_000
    assert size_limit(90_380) <= 6_000_000


def test_shown_is_the_nearest_kept_frame_of_the_same_run() -> None:
    runs = np.array([0, 0, 0, 0, 1, 1, 2])
    frames = np.array([1, 5, 8, 9, 2, 100, 3])
    assert find_shown(runs, frames, kept=np.array([0, 3, 5])).tolist() == [0, 3, 3, 3, 5, 5, -1]
    assert find_shown(runs, frames, kept=np.array([], int)).tolist() == [-1] * 7
    # Frames of one number, as of files that do not tell it.
    assert find_shown(np.zeros(3, int), np.ones(3, int), kept=np.array([0, 2])).tolist()[::2] == [0, 2]
