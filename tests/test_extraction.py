"""The computation on real Spark with fake models: once an image, once a worker, all of it or a failed run."""

import os
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import replace_in_place
from pyspark.sql import SparkSession

from fruits.errors import FruitsError
from fruits.features import extraction
from fruits.features.batches import list_batches, list_unfinished, write_batch
from fruits.features.extraction import Computation, compute_features, cut_batches
from fruits.features.model import Backbone
from fruits.features.store import read_features
from fruits.images import open_images
from fruits.images.decode import decode_image
from fruits.images.rows import ErrorRow
from fruits.pca import fit_pca
from fruits_cli.pack import pack_images

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
    about: dict[str, Any] = {"weights": "fake", "engine": "litert", "tensors": 0, "parameters": 0, "bytes": 0}
    backbone = Backbone(sha256=uuid.uuid4().hex, folder=store.parent, **about)

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
        fresh: bool = False,
    ) -> Computation:
        monkeypatch.setattr(extraction, "broadcast_engine", lambda *_: make)
        options: dict[str, Any] = {"batch_size": 2, "images_per_task": images_per_task, "fresh": fresh}
        return compute_features(spark, images, backbone=backbone, input_dir=input_dir, store=store, **options)

    return run_with


def list_training(folder: Path) -> pd.DataFrame:
    return open_images(folder).list_images(split="Training", classes=["*"])


def read_back(spark: SparkSession, done: Computation, store: Path) -> pd.DataFrame:
    return read_features(spark, done.images, store=store).to_dataframe().toPandas().sort_values("path")


def check_colours(table: pd.DataFrame, folder: Path) -> None:
    right = [decode_image((folder / path).read_bytes()).mean(axis=(0, 1)).tolist() for path in table["path"]]
    np.testing.assert_allclose(np.stack(table["features"])[:, :3], right, atol=1e-3)


def figures(done: Computation) -> tuple[int, int, list[ErrorRow]]:
    return done.features, done.computed, done.errors


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
    table = read_back(spark, done, store)
    assert table["path"].tolist() == good
    check_colours(table, fruit_folder)


@pytest.fixture
def group(spark: SparkSession) -> Iterator[str]:
    spark.sparkContext.setJobGroup("statement 7", "a cell")
    yield "statement 7"
    for name in ("spark.jobGroup.id", "spark.job.description"):
        spark.sparkContext.setLocalProperty(name, None)  # type: ignore[arg-type]


def test_jobs_belong_to_the_group_that_livy_set(spark: SparkSession, run: Run, group: str, fruit_folder: Path) -> None:
    """It counts that group's tasks for its progress, and cancels it when a cell is interrupted."""
    tracker = spark.sparkContext.statusTracker()
    before = set(tracker.getJobIdsForGroup(group))
    run(list_training(fruit_folder))
    assert len(set(tracker.getJobIdsForGroup(group)) - before) >= 2


def test_a_worker_builds_the_model_once_and_none_for_a_task_without_images(
    run: Run, fruit_folder: Path, store: Path, log: Path
) -> None:
    images = list_training(fruit_folder)
    assert figures(run(images[:1])) == (1, 1, [])
    assert len(read_log(log, "build")) == 1
    assert figures(run(images[1:], images_per_task=1)) == (8, 8, [])
    assert len(list(store.rglob("*.parquet"))) > 3
    # The session may have more than two workers: a job of an earlier test whose tasks took two at a time made them.
    builds = read_log(log, "build")
    assert len(builds) == len(set(builds)) < 8
    assert len(read_log(log, "image")) == 9


@pytest.fixture
def alike(fruit_folder: Path, image_bytes: Callable[..., bytes]) -> Path:
    """The fruit folder with pictures of one length."""
    for number, path in enumerate(list_training(fruit_folder)["path"]):
        (fruit_folder / path).write_bytes(image_bytes((20 * number, 90, 90), kind="BMP"))
    return fruit_folder


def test_the_second_run_computes_what_is_new_or_changed_alone(
    run: Run, spark: SparkSession, alike: Path, store: Path, log: Path, image_bytes: Callable[..., bytes]
) -> None:
    images = list_training(alike)
    assert run(images[:6]).computed == 6
    assert figures(run(images)) == (9, 3, [])
    os.utime(alike / images["path"][1], ns=(1, 1))
    one, other = ((alike / images["path"][number]).read_bytes() for number in (2, 3))
    for number, content in enumerate([image_bytes((250, 0, 0), kind="BMP"), other, one]):
        replace_in_place(alike / images["path"][(0, 2, 3)[number]], content)
    done = run(list_training(alike))
    assert figures(done) == (9, 1, [])
    assert figures(run(list_training(alike))) == (9, 0, [])
    assert (len(list_batches(store)), len(read_log(log, "image"))) == (5, 10)
    check_colours(read_back(spark, done, store), alike)


def test_copies_and_renamed_images_are_the_same_images(
    run: Run, spark: SparkSession, fruit_folder: Path, store: Path, tmp_path: Path
) -> None:
    run(list_training(fruit_folder))
    copy = tmp_path / "copy"
    shutil.copytree(fruit_folder, copy)
    shutil.copy(copy / "Training/Kiwi/0_100.jpg", copy / "Training/Kiwi/again.jpg")
    (copy / "Training/Apple Braeburn").rename(copy / "Training/Apple Red")
    done = run(list_training(copy), input_dir=copy)
    assert (figures(done), done.notes) == ((10, 0, []), [])
    table = read_back(spark, done, store)
    assert table[["path", "label"]].equals(list_training(copy)[["path", "label"]])
    check_colours(table, copy)


def test_copies_within_a_run_have_a_row_each_whole_or_broken(run: Run, fruit_folder: Path) -> None:
    kiwi = fruit_folder / "Training/Kiwi"
    for content, name in ((b"no image", "broken"), ((kiwi / "0_100.jpg").read_bytes(), "whole")):
        for number in range(2):
            (kiwi / f"{name} {number}.jpg").write_bytes(content)
    for fresh in (False, True):
        done = run(list_training(fruit_folder), fresh=fresh)
        assert (done.features, done.computed) == (11, 11)
        assert sorted(path for path, *_ in done.errors) == [f"Training/Kiwi/broken {number}.jpg" for number in range(2)]
    images = list_training(fruit_folder)
    done = run(images[images["path"].str.contains("broken")], fresh=True)
    assert (done.features, done.computed, len(done.errors)) == (0, 0, 2)


def test_features_of_an_earlier_version_are_computed_anew_once_and_it_is_said(
    run: Run, fruit_folder: Path, store: Path
) -> None:
    images = list_training(fruit_folder)
    assert run(images[:6]).notes == []
    for file in store.rglob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["digest", "etag"]), file)
    earlier = store.with_name("earlier")
    store.rename(earlier)  # a process looks at a batch once
    assert run(images[6:], store=earlier).notes == []
    done = run(images, store=earlier)
    assert figures(done) == (9, 6, [])
    assert done.notes == [
        "The stored features of an earlier version know images by path and time, not by content; they are computed "
        "anew once."
    ]
    again = run(images, store=earlier)
    assert (figures(again), again.notes) == ((9, 0, []), [])


@pytest.mark.parametrize(("answer", "word"), [("raise", "broken"), ("nan", "finite"), ("narrow", "1000")])
def test_a_broken_model_stops_all_batches_and_leaves_none(
    answer: str, word: str, run: Run, fruit_folder: Path, store: Path, log: Path
) -> None:
    def predict(pixels: Any) -> Any:
        with log.open("a") as stream:
            stream.writelines(f"image {image.sum()}\n" for image in pixels)
        if answer == "raise":
            raise OSError("broken model")
        return np.full((len(pixels), 1000 if answer == "narrow" else 1280), np.nan, np.float32)

    with pytest.raises(FruitsError, match=rf"the extraction of batch .* failed: .*{word}"):
        run(list_training(fruit_folder), make=lambda: predict, images_per_task=1 if answer == "raise" else 9)
    assert list(store.rglob("*.parquet")) == list_batches(store) == []
    assert len(set(read_log(log, "image"))) < 9


def test_batches_are_equal_and_hold_every_image_once() -> None:
    images = pd.DataFrame({"path": range(67_692)})
    for cores, tasks, count in ((2, 1, 68), (8, 1, 72), (16, 2, 40), (800, 100, 8)):
        batches = cut_batches(images, tasks=tasks, cores=cores, images_per_task=1024)
        sizes = {len(batch) for batch in batches}
        assert len(batches) == count
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 1024 * tasks
        pd.testing.assert_frame_equal(pd.concat(batches), images)
    assert [len(batch) for batch in cut_batches(images[:5], tasks=1, cores=4, images_per_task=1024)] == [1, 1, 2, 1]


def test_a_fresh_run_computes_all_anew_and_its_features_are_read(
    run: Run, spark: SparkSession, fruit_folder: Path, store: Path, tmp_path: Path
) -> None:
    # A worker keeps its predict function from run to run, so what it returns lies in a file.
    value = tmp_path / "value"

    def make() -> Any:
        return lambda pixels: np.full((len(pixels), 1280), float(value.read_text()), np.float32)

    images = list_training(fruit_folder)
    for number, (features, computed) in enumerate([(9, 9), (3, 3), (9, 0)], 1):
        value.write_text(str(number))
        fresh = number == 2
        done = run(images[:3] if fresh else images, make=make, fresh=fresh)
        assert figures(done) == (features, computed, [])
    assert [row[0] for row in read_back(spark, done, store)["features"]] == [2] * 3 + [1] * 6

    (fruit_folder / images["path"][0]).unlink()
    done = run(images, make=make, fresh=True)
    assert (done.features, done.computed, [path for path, *_ in done.errors]) == (8, 8, [images["path"][0]])
    assert images["path"][0] not in set(done.images["path"])  # what cannot be read any more is not read back


def test_what_another_run_computes_meanwhile_is_no_error_here(
    run: Run, alike: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, other = list_training(alike), tmp_path / "other"
    run(images[:1], store=other)
    run(images[1:2])  # of the same length, so that the next run hashes the first
    write = write_batch

    def write_while_another_run_does(*args: Any, **options: Any) -> Any:
        (alike / images["path"][0]).unlink(missing_ok=True)
        shutil.copytree(other, store, dirs_exist_ok=True)
        return write(*args, **options)

    monkeypatch.setattr(extraction, "write_batch", write_while_another_run_does)
    assert figures(run(images)) == (9, 7, [])


@pytest.mark.parametrize("always", [False, True])
def test_a_worker_that_dies_is_replaced_and_one_that_dies_each_time_fails_the_run(
    run: Run, fruit_folder: Path, tmp_path: Path, always: bool
) -> None:
    mark = tmp_path / "killed"

    def make() -> Any:
        def predict(pixels: Any) -> Any:
            if always or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return np.zeros((len(pixels), 1280), np.float32)

        return predict

    images, failed = (
        list_training(fruit_folder),
        r"the extraction of batch \d of \d \(Training/.* to Training/.*\) failed: its",
    )
    with pytest.raises(FruitsError, match=failed) if always else nullcontext():
        assert figures(run(images[: 2 if always else 9], make=make)) == (9, 9, [])
    assert mark.exists()


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
    pairs = ((loose, store), (tight, other))
    pd.testing.assert_frame_equal(*(read_back(spark, done, at) for done, at in pairs))
    first, second = (fit_pca(read_features(spark, done.images, store=at), k=2) for done, at in pairs)
    np.testing.assert_array_equal(first.components, second.components)
    assert run(list_training(packed), input_dir=packed).computed == 0


def test_an_interrupted_run_keeps_what_its_workers_have_computed(
    run: Run, fruit_folder: Path, store: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = list_training(fruit_folder)

    def make() -> Any:
        def predict(pixels: Any) -> Any:
            with log.open("a") as stream:
                stream.write("image\n" * len(pixels))
            time.sleep(0.5)
            return np.zeros((len(pixels), 1280), np.float32)

        return predict

    def interrupt(jobs: Any) -> Iterator[Any]:
        while len(read_log(log, "image")) < 2:
            time.sleep(0.05)
        raise KeyboardInterrupt
        yield

    # Tasks of 5 and 4 images in passes of 2.
    with monkeypatch.context() as patch:
        patch.setattr("fruits.jobs.as_completed", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(images, make=make, images_per_task=5)

    computed = len(read_log(log, "image"))
    stored = sum(pq.read_metadata(file).num_rows for file in store.glob("batch-*/*.parquet"))
    assert 2 <= computed == stored < len(images)
    assert list_unfinished(store) == []
    done = run(images, images_per_task=5)
    assert figures(done) == (9, 9 - stored, [])
