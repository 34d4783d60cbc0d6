"""Screenshots: which files are pictures, how they are turned and scaled, in which order they come."""

import io
from pathlib import Path

import pytest
from conftest import put
from PIL import Image

from fruits.errors import UsageError
from fruits_cli.deliver.screenshots import read_screenshots


def draw(file: Path, size: tuple[int, int] = (40, 20), *, mode: str = "RGB", orientation: int = 1) -> None:
    """Write a picture whose left half is red and whose right half is transparent or black."""
    picture = Image.new(mode, size)
    picture.paste((200, 0, 0, 255)[: len(mode)], (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(file, exif=exif)


def open_content(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_pictures_come_by_name_and_other_files_are_named(tmp_path: Path) -> None:
    for name in ("b Étape.PNG", "A bucket.jpg", "c.webp", "d.jpeg"):
        draw(tmp_path / name)
    put(tmp_path, "notes.txt", "broken.png", "e.heic", ".DS_Store", "more/f.png")

    pictures, others = read_screenshots(tmp_path)

    assert [picture.caption for picture in pictures] == ["A bucket", "b Étape", "c", "d"]
    assert others == ["broken.png", "e.heic", "more", "notes.txt"]
    assert [open_content(picture.content).format for picture in pictures] == ["JPEG", "PNG", "PNG", "JPEG"]


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", orientation=6)

    ((content, _, size),), _ = read_screenshots(tmp_path)

    assert size == open_content(content).size == (20, 40)
    assert open_content(content).getpixel((10, 5)) == (200, 0, 0)  # what was on the left is above
    assert not open_content(content).getexif()


def test_a_huge_picture_is_scaled_and_keeps_its_proportions(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (6000, 2000))
    draw(tmp_path / "b.png", (300, 100))

    large, small = read_screenshots(tmp_path)[0]

    assert large.size == (1800, 600)
    assert small.size == (300, 100)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", mode="RGBA")

    ((content, *_),), _ = read_screenshots(tmp_path)

    assert open_content(content).getpixel((39, 10)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("name", "said"), [("empty", "holds no picture; allowed: .jpeg, .jpg, .png, .webp"), ("gone", "cannot be read")]
)
def test_a_folder_without_pictures_is_refused(tmp_path: Path, name: str, said: str) -> None:
    put(tmp_path, "empty/notes.txt")

    with pytest.raises(UsageError, match=said):
        read_screenshots(tmp_path / name)
