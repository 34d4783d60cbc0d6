"""A user's own photographs, in no order: `fruits run --images` takes every one, and names what is none."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from conftest import put
from PIL import Image

pytestmark = pytest.mark.tensorflow
KINDS = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF", ".avif": "AVIF", ".JFIF": "JPEG"}
RIGHT_UP = 6  # as phones store pictures that were held upright


@pytest.fixture
def photographs(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Make 13 images, flat and nested, of sizes from 20 x 20 to 4000 x 3000, and two files that are no images."""
    folder = tmp_path / "Été 2026"
    for number, (suffix, kind) in enumerate(KINDS.items()):
        put(folder, f"{number}{suffix}", content=image_bytes((30 * number, 80, 200), size=20 + 40 * number, kind=kind))
    for number in range(4):
        name = f"Citrus/{('Orange', 'Lemon')[number % 2]}/{number}.jpg"
        put(folder, name, content=image_bytes((200, 40 * number, 20), seed=number))
    exif = Image.Exif()
    exif[0x0112] = RIGHT_UP
    gradient = np.broadcast_to(np.linspace(0, 255, 4000)[None, :, None], (3000, 4000, 3)).astype(np.uint8)
    Image.fromarray(gradient).save(folder / "Citrus/phone.jpeg", exif=exif)
    pillow_heif.from_pillow(Image.fromarray(gradient[::10, ::10])).save(folder / "phone.HEIC")
    put(folder, "shopping.txt", "Citrus/text.jpg", content=b"apples, 12 pieces\n")
    return folder


def test_every_photograph_is_taken(photographs: Path, tmp_path: Path, models: Path) -> None:
    shutil.copytree(models, tmp_path / "out/models")
    places = {"output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    settings = {**places, "weights": "random", "max_error_share": 0.1, "evaluate": False}
    command = [str(Path(sys.executable).with_name("fruits")), "run", "--images", photographs.name]
    command += [f"--set={key}={value}" for key, value in settings.items()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    tables = tmp_path / "out" / photographs.name
    images = pd.read_csv(tables / "metadata/metadata.csv")
    assert images["label"].value_counts().to_dict() == {
        **{"Citrus": 1, "Citrus/Lemon": 2, "Citrus/Orange": 2},
        photographs.name: len(KINDS) + 1,
    }
    assert set(images["split"]) == {"all"}
    errors, ignored = (pd.read_csv(tables / f"errors/{name}.csv") for name in ("errors", "ignored"))
    assert errors[["path", "stage"]].to_numpy().tolist() == [["Citrus/text.jpg", "decode"]]
    assert ignored[["path", "kind"]].to_numpy().tolist() == [["shopping.txt", ".txt"]]
    manifest = json.loads((tmp_path / "reports/local" / photographs.name / "manifest.json").read_text())
    assert manifest["counts"] == {"listed": 14, "features": 13, "errors": 1, "reused": 0, "computed": 13}
    assert "Ignored: 1 files: 1 .txt" in done.stdout
