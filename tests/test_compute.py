"""The computation on real Spark with fake models: once an image, once a worker, all of it or a failed run."""

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from fruits.errors import FruitsError
from fruits.features import compute
from fruits.features.backbone import Backbone
from fruits.features.compute import Computation, compute_features, cut_batches
from fruits.features.store import list_batches, read_features
from fruits.images.decode import decode_image
from fruits.images.listing import list_images
from fruits.images.pack import pack_images

Run = Callable[..., Computation]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "features" / "model"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A line for each model that a worker builds and for each image that it is given."""
    (tmp_path / "log.txt").touch()
    return tmp_path / "log.txt"


@pytest.fixture
def run(spark: SparkSession, fruit_folder: Path, store: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Compute with a model whose answers are known: the mean colour, noted down image by image."""
    numbers = {"tensors": 0, "parameters": 0, "bytes": 0}
    backbone = Backbone(weights="fake", sha256=uuid.uuid4().hex, engine="litert", folder=store.parent, **numbers)

    def note(*lines: str) -> None:
        with log.open("a") as stream:
            stream.write("".join(f"{line}\n" for line in lines))

    def colour() -> Callable[[Any], Any]:
        note(f"build {os.getpid()}")

        def predict(pixels: Any) -> Any:
            means = pixels.mean(axis=(1, 2))
            note(f"batch {len(pixels)}", *(f"image {mean.tolist()}" for mean in means))
            return np.pad(means, ((0, 0), (0, 1277))).astype(np.float32)

        return predict

    def run_with(
        images: pd.DataFrame,
        *,
        make: Callable[[], Any] = colour,
        images_per_task: int = 4,
        input_dir: Path = fruit_folder,
        store: Path = store,
    ) -> Computation:
        monkeypatch.setattr(compute, "broadcast_engine", lambda *_: make)
        options = {"batch_size": 2, "images_per_task": images_per_task}
        return compute_features(spark, images, backbone=backbone, input_dir=input_dir, store=store, **options)

    return run_with


def list_training(folder: Path) -> pd.DataFrame:
    return list_images(folder, split="Training", classes=["*"])


def read_log(log: Path, what: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith(what)]


def colours_of(folder: Path, paths: Iterable[str]) -> list[list[float]]:
    return [decode_image((folder / path).read_bytes()).mean(axis=(0, 1)).tolist() for path in paths]


def test_each_image_goes_through_the_model_once_errors_or_not(
    run: Run, spark: SparkSession, fruit_folder: Path, store: Path, log: Path
) -> None:
    paths = list_training(fruit_folder)["path"]
    (fruit_folder / paths[0]).write_bytes(b"")
    (fruit_folder / paths[4]).write_bytes(b"no image")
    images = list_training(fruit_folder)
    (fruit_folder / paths[8]).unlink()
    done = run(images, images_per_task=9)
    stages = {paths[0]: "decode", paths[4]: "decode", paths[8]: "read"}
    assert (done.features, done.computed) == (6, 6)
    assert {path: stage for path, stage, _ in done.errors} == stages
    assert len([reason for *_, reason in done.errors if reason]) == 3
    good = [path for path in paths if path not in stages]
    assert {*read_log(log, "batch")} <= {"batch 1", "batch 2"}
    assert Counter(read_log(log, "image")) == Counter(f"image {c}" for c in colours_of(fruit_folder, good))
    table = read_features(spark, images, store=store).to_dataframe().toPandas().sort_values("path")
    assert table["path"].tolist() == good
    np.testing.assert_allclose(np.stack(table["features"])[:, :3], colours_of(fruit_folder, good), atol=1e-3)


def test_a_worker_builds_the_model_once_for_all_its_tasks(run: Run, fruit_folder: Path, store: Path, log: Path) -> None:
    done = run(list_training(fruit_folder)[:8], images_per_task=1)
    assert done == Computation(8, 8, [])
    assert len(list(store.rglob("*.parquet"))) > 2
    assert len(read_log(log, "build")) in (1, 2)
    assert len(read_log(log, "image")) == 8


def test_a_task_without_images_builds_no_model(run: Run, fruit_folder: Path, log: Path) -> None:
    assert run(list_training(fruit_folder)[:1]) == Computation(1, 1, [])
    assert len(read_log(log, "build")) == 1


def test_the_second_run_computes_what_is_new_or_changed_alone(
    run: Run, fruit_folder: Path, store: Path, log: Path
) -> None:
    images = list_training(fruit_folder)
    assert run(images[:6]).computed == 6
    assert run(images) == Computation(9, 3, [])
    os.utime(fruit_folder / images["path"][0], ns=(1, 1))
    assert run(list_training(fruit_folder)) == Computation(9, 1, [])
    assert run(list_training(fruit_folder)) == Computation(9, 0, [])
    assert (len(list_batches(store)), len(read_log(log, "image"))) == (3, 10)


def test_images_that_all_fail_are_all_errors(run: Run, fruit_folder: Path, log: Path) -> None:
    for path in list_training(fruit_folder)["path"]:
        (fruit_folder / path).write_bytes(b"no image")
    done = run(list_training(fruit_folder))
    assert (done.features, done.computed, len(done.errors)) == (0, 0, 9)
    assert read_log(log, "image") == []


@pytest.mark.parametrize(("answer", "word"), [("raise", "broken"), ("nan", "finite"), ("narrow", "1000")])
def test_a_broken_model_fails_the_run_and_leaves_no_batch(
    answer: str, word: str, run: Run, fruit_folder: Path, store: Path
) -> None:
    def predict(pixels: Any) -> Any:
        if answer == "raise":
            raise OSError("broken model")
        return np.full((len(pixels), 1000 if answer == "narrow" else 1280), np.nan, np.float32)

    with pytest.raises(FruitsError, match=rf"failed on a worker: .*{word}"):
        run(list_training(fruit_folder), make=lambda: predict)
    assert list(store.rglob("*.parquet")) == []


def test_batches_are_equal_and_hold_every_image_once() -> None:
    images = pd.DataFrame({"path": range(67_692)})
    for cores, count in ((2, 34), (8, 9), (16, 5)):
        batches = cut_batches(images, cores=cores, images_per_task=1024)
        sizes = {len(batch) for batch in batches}
        assert len(batches) == count
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 1024 * cores
        pd.testing.assert_frame_equal(pd.concat(batches), images)
    assert [len(batch) for batch in cut_batches(images[:5], cores=4, images_per_task=1024)] == [5]


def test_packed_images_have_the_same_features_errors_and_keys(
    run: Run, spark: SparkSession, fruit_folder: Path, store: Path, tmp_path: Path
) -> None:
    paths = list_training(fruit_folder)["path"]
    (fruit_folder / paths[0]).write_bytes(b"")
    (fruit_folder / paths[1]).unlink()
    (fruit_folder / paths[1]).symlink_to("nowhere.jpg")
    images, packed = list_training(fruit_folder), tmp_path / "packed"
    pack_images(fruit_folder, packed)
    other = tmp_path / "other"

    loose = run(images)
    tight = run(list_training(packed), input_dir=packed, store=other)

    assert [(path, stage) for path, stage, _ in sorted(tight.errors)] == [(paths[0], "decode"), (paths[1], "read")]
    assert (tight.features, tight.computed) == (loose.features, loose.computed) == (7, 7)
    found = [read_features(spark, images, store=place).to_dataframe().toPandas() for place in (store, other)]
    pd.testing.assert_frame_equal(*found)
    assert run(list_training(packed), input_dir=packed).computed == 0


def test_a_batch_that_fails_stops_the_others(run: Run, fruit_folder: Path, store: Path, log: Path) -> None:
    def fail(pixels: Any) -> Any:
        with log.open("a") as stream:
            stream.write("image\n" * len(pixels))
        raise ValueError("broken model")

    with pytest.raises(FruitsError, match="broken model"):
        run(list_training(fruit_folder), make=lambda: fail, images_per_task=1)
    assert list_batches(store) == []
    assert len(read_log(log, "image")) < 9
