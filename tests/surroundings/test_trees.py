"""Folders as NAS, cameras, phones and other systems leave them: a whole run, whose counts are known."""

import csv
import json
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiffs import make_tiff

pytestmark = pytest.mark.tensorflow
GREY = (np.arange(400).reshape(20, 20, 1) * 10) % 4096
PEACH = unicodedata.normalize("NFD", "Pêche")

# What must become of each file below Validation/: features, an error row, or a row of ignored.csv of this kind.
FEATURES = ["Pear [ripe]/0.jpg", "Pear [ripe]/1.JFIF", "Pear [ripe]/IMG_2", f"{PEACH}/0.jpg", f"{PEACH}/12 bits.jpg"]
FEATURES += [f"{PEACH}/a line before.jpe", "@home/0.jpg", "@home/1.jpg"]
ERRORS = {
    f"{PEACH}/phone.jpg": (b"\xff\x0a\xfa\x1f" + bytes(60), "JPEG XL, which is not read; convert it to JPEG"),
    "@home/14 bits.png": (make_tiff(GREY, bits=14, photometric=1), "TIFF with 14 bits a sample, unsigned, photometric"),
}
IGNORED = {
    "#recycle": "system",
    f"{PEACH}/@eaDir": "system",
    f"{PEACH}/LICENSE": "no suffix",
    f"{PEACH}/Thumbs.db": "system",
    f"{PEACH}/._0.jpg": "hidden",
    "Pear [ripe]/Icon\r": "system",
    "Fig/0.psd": ".psd",
    "Fig/1.psd": ".psd",
}


@pytest.fixture
def tree(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    root = tmp_path / "images"
    files = {name: image_bytes((50, 20 * number, 90)) for number, name in enumerate(FEATURES)}
    files[f"{PEACH}/12 bits.jpg"] = make_tiff(GREY, bits=12, photometric=1)
    files[f"{PEACH}/a line before.jpe"] = b"\r\n" + image_bytes((9, 9, 9))
    files |= {name: content for name, (content, _) in ERRORS.items()}
    files |= dict.fromkeys(IGNORED, b"notes")
    del files["#recycle"], files[f"{PEACH}/@eaDir"]
    files |= {f"#recycle/Kiwi/{number}.jpg": image_bytes() for number in range(3)}
    files |= {f"{PEACH}/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg": image_bytes()}
    files |= {"Kiwi/not asked for.jpg": image_bytes(), "Pear r/not asked for.jpg": image_bytes()}
    for name, content in files.items():
        (root / "Validation" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "Validation" / name).write_bytes(content)
    return root


def read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return [{**row, "path": row["path"].removeprefix("Validation/")} for row in csv.DictReader(stream)]


def run_fruits(tmp_path: Path, tree: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    places = {"output_dir": tmp_path / "out", "report_dir": tmp_path / "reports", "input_dir": tree}
    settings = {**places, "evaluate": False, **settings}
    command = [str(Path(sys.executable).with_name("fruits")), "run", "MINI", "--target", "local"]
    command += [f"--set={key}={value}" for key, value in settings.items()]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_tree_of_all_kinds(tmp_path: Path, tree: Path, models: Path) -> None:
    shutil.copytree(models, tmp_path / "out/models")
    classes = json.dumps(["Pear [ripe]", "Pêche", "@*", "Fi*"])
    settings = {"split": "Validation", "weights": "random", "max_error_share": 0.5, "pca_components": 2}

    refused = run_fruits(tmp_path, tree, classes=classes, **settings)
    assert refused.returncode == 2
    assert "class folder 'Fig' holds 2 files, none is an image: 2 .psd" in refused.stderr

    (tree / "Validation/Fig/2.png").write_bytes((tree / "Validation/@home/1.jpg").read_bytes())
    done = run_fruits(tmp_path, tree, classes=classes, **settings)

    assert done.returncode == 0, done.stderr
    tables = tmp_path / "out/MINI"
    features = [row["path"] for row in read_rows(tables / "metadata/metadata.csv")]
    errors = {row["path"]: row["reason"] for row in read_rows(tables / "errors/errors.csv")}
    ignored = {row["path"]: row["kind"] for row in read_rows(tables / "errors/ignored.csv")}
    assert sorted(features) == sorted([*FEATURES, "Fig/2.png"])
    assert errors.keys() == ERRORS.keys()
    assert all(reason.startswith(ERRORS[path][1]) for path, reason in errors.items())
    assert ignored == IGNORED
    manifest = json.loads((tmp_path / "reports/local/MINI/manifest.json").read_text())
    assert manifest["counts"]["listed"] == len(features) + len(errors)
    assert manifest["ignored"] == len(IGNORED)
    assert manifest["ignored_kinds"] == {"system": 4, ".psd": 2, "no suffix": 1, "hidden": 1}
