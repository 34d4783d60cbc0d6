"""README's example on a Spark session that we did not configure, and what the public functions take and refuse."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

import fruits
from fruits.features.extraction import compute_features
from fruits.features.store import read_features
from fruits.images import open_images
from fruits_cli.pack import pack_images

REPOSITORY = Path(__file__).resolve().parents[1]
PLAIN = """
import json, sys
from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[2]").config("spark.sql.execution.arrow.pyspark.enabled", "false")
spark = builder.config("spark.sql.session.timeZone", "Asia/Tokyo").config("spark.ui.enabled", "false").getOrCreate()
"""
TELL = """
import pandas as pd
from fruits.features.store import read_features
from pathlib import Path

stored = read_features(spark, pd.read_pickle("images.pickle"), store=Path("store"))
again = fruits.fit_pca(stored, k=200).transform(stored)
rows = [row.asDict() for row in features.orderBy("path").collect()]
kinds = [dict(table.dtypes) for table in (features, scores)]
told = {"kinds": kinds, "rows": rows}
for name, table in {"scores": scores, "again": again}.items():
    told[name] = [row.pca for row in table.orderBy("path").collect()]
print(json.dumps(told))
"""


def make_worker_python(folder: Path) -> Path:
    """Make a Python that has all packages but `fruits`, which is installed by a .pth file here."""
    python = folder / "python"
    packages = sysconfig.get_path("purelib")
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    assert subprocess.run([python, "-c", "import numpy"], check=False).returncode == 0
    assert subprocess.run([python, "-c", "import fruits"], check=False, capture_output=True).returncode == 1
    return python


@pytest.mark.tensorflow
def test_the_example_of_the_readme_works_on_a_plain_session(
    spark: SparkSession, fruit_folder: Path, models: Path, tmp_path: Path
) -> None:
    (example,) = re.findall(r"```python\n(import fruits\n.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    example = example.replace("/photos", str(fruit_folder)).replace('"imagenet"', '"random"')
    example = example.partition("pca = fruits.load_pca")[0]
    broken = fruit_folder / "Training/Kiwi/broken.jpg"
    broken.write_bytes(b"no image")
    shutil.copytree(models, tmp_path / "home/.cache/fruits/models")
    changed = {"HOME": str(tmp_path / "home"), "PYSPARK_PYTHON": str(make_worker_python(tmp_path))}
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))} | changed

    place: dict[str, Any] = {"model": fruits.load_model("random", folder=models), "input_dir": fruit_folder}
    right, images = run_pipeline(spark, **place, store=tmp_path / "store")
    images.to_pickle(tmp_path / "images.pickle")
    command = [sys.executable, "-c", PLAIN + example + TELL]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert f"1 of 13 images cannot be read and have no features: {broken} (not an image" in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    names = dict.fromkeys(("path", "label", "split"), "string")
    assert told["kinds"] == [names | {"features": "array<float>"}, names | {"pca": "array<float>"}]
    found = pd.DataFrame(told["rows"])
    assert found["path"].tolist() == [str(fruit_folder / path) for path in right["path"]]
    assert found[["label", "split"]].equals(right[["label", "split"]])
    features = np.stack(right["features"].to_list()).astype(np.float32)
    np.testing.assert_array_equal(np.array(found["features"].to_list(), np.float32), features)
    centred = features - features.mean(axis=0, dtype=np.float64)
    spread = np.linalg.norm(told["scores"], axis=1)
    np.testing.assert_allclose(spread, np.linalg.norm(centred, axis=1), rtol=1e-3)
    np.testing.assert_allclose(np.abs(told["again"]), np.abs(told["scores"]), atol=1e-4)  # without Arrow, too


def run_pipeline(spark: SparkSession, *, model: Any, input_dir: Path, store: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    splits = [open_images(input_dir).list_images(split=split, classes=["*"]) for split in ("Training", "Test")]
    place: dict[str, Any] = {"input_dir": input_dir, "store": store, "batch_size": 4, "images_per_task": 8}
    done = compute_features(spark, pd.concat(splits, ignore_index=True), backbone=model, **place)
    table = read_features(spark, done.images, store=store).to_dataframe().toPandas()
    return table.sort_values("path", ignore_index=True), done.images


def test_images_are_listed_in_any_layout(fruit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fruits.list_images(fruit_folder)
    assert whole["split"].value_counts().to_dict() == {"Training": 9, "Test": 3}
    assert whole.columns.tolist() == ["path", "label", "split"]
    classes = fruits.list_images(str(fruit_folder / "Training"), classes=["Apple*"])
    assert classes["label"].value_counts().to_dict() == {"Apple Braeburn": 4, "Apple Golden 1": 3}
    monkeypatch.chdir(fruit_folder / "Test")
    flat = fruits.list_images("Kiwi")
    assert flat.to_dict("records") == [{"path": f"{fruit_folder}/Test/Kiwi/0_100.jpg", "label": "Kiwi", "split": "all"}]
    pack_images(fruit_folder, tmp_path / "packed")
    packed = fruits.list_images(tmp_path / "packed", split="Test")
    assert packed["path"].tolist() == [
        path.replace(str(fruit_folder), f"{tmp_path}/packed") for path in whole["path"] if "/Test/" in path
    ]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"folder": "none"}, "cannot be listed"), ({"folder": "."}, "no images"), ({"split": "x"}, "Test, Training")],
)
def test_what_cannot_be_listed_is_a_usage_error(
    options: dict[str, Any], word: str, fruit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: dict[str, Any] = {"folder": fruit_folder}
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(fruits.UsageError, match=word):
        fruits.list_images(**place | options)


@pytest.mark.tensorflow
def test_tables_and_lists_of_paths_are_completed(
    spark: SparkSession, fruit_folder: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fruits.load_model("random", folder=models)
    monkeypatch.chdir(fruit_folder)
    pack_images(fruit_folder, tmp_path / "packed")
    paths = [
        "Test/Kiwi/0_100.jpg",
        f"file:{fruit_folder}/Test/Kiwi/0_100.jpg",
        f"{tmp_path}/packed/Test/Kiwi/0_100.jpg",
    ]
    table = pd.DataFrame({"path": paths, "label": ["fruit", None, 3], "weight": 1.0})
    features = fruits.extract_features(table, model, spark=spark)
    assert features.schema["features"].metadata == {"model_id": model.model_id}
    found = features.toPandas()
    assert found[["path", "label", "split"]].to_numpy().tolist() == [
        [path, label, "all"] for path, label in zip(paths, ("fruit", "Kiwi", "3"), strict=True)
    ]
    assert len({tuple(features) for features in found["features"]}) == 1
    errors: list[Any] = []
    rows = spark.createDataFrame([(path,) for path in [*paths, "none.jpg"]], "path string")
    assert fruits.extract_features(rows, model, on_error="skip", errors=errors).count() == 3
    assert errors == [("none.jpg", "read", "No such file or directory")]
    with pytest.raises(fruits.FruitsError, match=r"1 of 2 images cannot be read .*none\.jpg"):
        fruits.extract_features([paths[0], Path("none.jpg")], model, spark=spark, on_error="raise")


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("images", "word"),
    [
        (pd.DataFrame({"file": ["a"]}), "no column `path`; it has file"),
        (pd.DataFrame({"path": ["a", None]}), "the path of image 1 .* is None"),
        (pd.DataFrame({"path": [7]}), "is 7; it must be a text"),
        ([], "is empty"),
        ("/photos", "is a str; .*list_images"),
    ],
)
def test_what_is_no_table_of_images_is_a_usage_error(images: Any, word: str, spark: SparkSession, models: Path) -> None:
    model = fruits.load_model("random", folder=models)
    with pytest.raises(fruits.UsageError, match=word):
        fruits.extract_features(images, model, spark=spark)
    with pytest.raises(fruits.UsageError, match=r"model is a str; give what fruits\.load_model"):
        fruits.extract_features(images, "random", spark=spark)  # type: ignore[arg-type]
