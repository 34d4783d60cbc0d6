"""Whole runs on pictures that are replaced, swapped and renamed behind equal lengths and times."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import replace_in_place
from faults import Place, make_place

from fruits_cli.pack import pack_images

pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]
COUNTS = {"listed": 8, "features": 8, "errors": 0}


@pytest.fixture
def place(tmp_path: Path, models: Path) -> Iterator[Place]:
    yield from make_place(tmp_path, models=models, weights="random", pca_components=3)


@pytest.fixture
def images(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Two classes of four pictures each, all of one length."""
    root = tmp_path / "images"
    for number in range(8):
        folder = root / "Training" / f"Apple {number // 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(image_bytes((30 * number, 90, 200), kind="BMP"))
    return root


def test_the_results_show_the_pictures_that_are_there(
    place: Place, images: Path, tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    place.start(input_dir=images).end(0)
    assert place.manifest["counts"] == {**COUNTS, "reused": 0, "computed": 8}

    first = images / "Training/Apple 0"
    # A new picture, two that change places, a class with another name.
    one, other = ((first / name).read_bytes() for name in ("1.jpg", "2.jpg"))
    new = image_bytes((0, 255, 0), kind="BMP")
    for name, content in {"0.jpg": new, "1.jpg": other, "2.jpg": one}.items():
        replace_in_place(first / name, content)
    (images / "Training/Apple 1").rename(images / "Training/Apple ä")
    for name, seconds in {"4.jpg": -10_000_000_000, "5.jpg": 10_000_000_000}.items():
        # Outside of what 64 bits of nanoseconds can say.
        os.utime(images / "Training/Apple ä" / name, (seconds, seconds))
    place.start(input_dir=images).end(0)
    assert place.manifest["counts"] == {**COUNTS, "reused": 7, "computed": 1}
    assert place.manifest["notes"] == []
    found = (place.output / "APPLES/pca/csv/pca.csv").read_bytes()
    assert '"Training/Apple ä/4.jpg","Apple ä","Training",' in found.decode()

    # All computed anew, of packed images: the same to the last bit.
    pack_images(images, tmp_path / "packed")
    place.start("--fresh", mode="FULL", input_dir=tmp_path / "packed").end(0)
    assert (place.output / "FULL/pca/csv/pca.csv").read_bytes() == found
