"""The extraction on real Spark with fake models: one row an image, or one error with its stage and reason."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from fruits.features.udf import SCHEMA, Extractor, collect_errors, limit_image
from fruits.images import open_images
from fruits.images.decode import decode_image
from fruits.images.rows import LISTED, STORED, ErrorRow
from fruits.images.source import hash_content, hash_images
from fruits.images.tree import ClassFolders


class Rows(list[ErrorRow]):
    """Stands for the accumulator where no Spark is needed."""

    add = list.extend


def predict_colour(pixels: Any) -> Any:
    """Known answers: the mean of red, green and blue, then zeros."""
    features = np.zeros((len(pixels), 1280), np.float32)
    features[:, :3] = pixels.mean(axis=(1, 2))
    return features


def make_extractor(folder: Path, predict: Callable[..., Any], *, errors: Any, batch_size: int = 4) -> Extractor:
    # A lambda is copied to the workers, so they need not import this module; a new id means a new model.
    return Extractor(
        model_id=uuid.uuid4().hex,
        make_predict=lambda: predict,
        source=ClassFolders(folder),
        batch_size=batch_size,
        errors=errors,
    )


def extract_here(folder: Path, predict: Callable[..., Any], **options: Any) -> tuple[pd.DataFrame, Rows]:
    images = open_images(folder).list_images(split="Training", classes=["*"])
    errors = Rows()
    extractor = make_extractor(folder, predict, errors=errors, **options)
    batches = list(extractor.extract(pa.Table.from_pandas(images).to_batches()))
    return pa.Table.from_batches(batches).to_pandas(), errors


def test_each_image_gets_its_own_features_on_spark(spark: SparkSession, fruit_folder: Path) -> None:
    def predict(pixels: Any) -> Any:
        features = np.zeros((len(pixels), 1280), np.float32)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features

    broken = open_images(fruit_folder).list_images(split="Training", classes=["*"])["path"][2]
    (fruit_folder / broken).write_bytes(b"\xff\xd8\xff no image")
    images = open_images(fruit_folder).list_images(split="Training", classes=["*"])
    errors = collect_errors(spark.sparkContext)
    rows = spark.createDataFrame(images).repartition(3)
    found = rows.mapInArrow(make_extractor(fruit_folder, predict, errors=errors).extract, SCHEMA)
    assert found.columns == list(STORED)
    table = found.toPandas().sort_values("path", ignore_index=True)
    kept = list(LISTED[:-1])
    pd.testing.assert_frame_equal(table[kept], images.drop(2).reset_index(drop=True)[kept])
    digests = [hash_content((fruit_folder / path).read_bytes()) for path in table["path"]]
    assert (table["digest"].tolist(), set(table["etag"])) == (digests, {""})
    for path, features in zip(table["path"], table["features"], strict=True):
        right = decode_image((fruit_folder / path).read_bytes()).mean(axis=(0, 1))
        np.testing.assert_allclose(features[:3], right, atol=1e-3)
        assert len(features) == 1280
    ((path, stage, reason),) = errors.value
    assert (path, stage) == (broken, "decode")
    assert "not an image" in reason


def test_what_cannot_be_read_or_decoded_is_an_error_row(fruit_folder: Path) -> None:
    paths = open_images(fruit_folder).list_images(split="Training", classes=["*"])["path"]
    whole = (fruit_folder / paths[1]).read_bytes()
    (fruit_folder / paths[0]).write_bytes(b"")
    (fruit_folder / paths[1]).write_bytes(whole[: len(whole) // 2])
    (fruit_folder / paths[3]).write_bytes(b"hello")

    def predict(pixels: Any) -> Any:
        (fruit_folder / paths[8]).unlink(missing_ok=True)  # Lost between the listing and its turn.
        return predict_colour(pixels)

    table, errors = extract_here(fruit_folder, predict)
    assert [(path, stage) for path, stage, _ in errors] == [
        (paths[0], "decode"),
        (paths[1], "decode"),
        (paths[3], "decode"),
        (paths[8], "read"),
    ]
    words = ("0 bytes", "truncated", "not an image", "No such file")
    assert all(word in reason for word, (*_, reason) in zip(words, errors, strict=True))
    assert sorted([*table["path"], *(path for path, *_ in errors)]) == list(paths)


def read_rows(folder: Path, rows: list[dict[str, Any]]) -> tuple[int, Rows]:
    errors = Rows()
    extractor = make_extractor(folder, predict_colour, errors=errors)
    rows = [{"label": "", "split": "", "modified": 0, **row} for row in rows]
    found = extractor.extract([pa.RecordBatch.from_pylist(rows)])
    return sum(batch.num_rows for batch in found), errors


def test_a_file_that_the_listing_could_not_look_at_is_an_error_row(tmp_path: Path, image_bytes: Any) -> None:
    (tmp_path / "1.jpg").write_bytes(image_bytes())
    found, errors = read_rows(tmp_path, [{"path": "1.jpg", "length": 0, "digest": ""}])
    assert errors == [("1.jpg", "read", "changed since it was listed; run again")]
    assert found == 0


def test_a_file_that_changed_since_it_was_listed_is_an_error_row(tmp_path: Path, image_bytes: Any) -> None:
    file = tmp_path / "1.jpg"
    file.write_bytes(image_bytes())
    now, length = hash_content(image_bytes()), len(image_bytes())
    seen = [(length, now), (length, ""), (length, hash_content(b"")), (length - 1, now), (length - 1, "")]
    found, errors = read_rows(tmp_path, [{"path": "1.jpg", "length": size, "digest": was} for size, was in seen])
    assert found == 2
    assert errors == [("1.jpg", "read", "changed since it was listed; run again")] * 3


def test_a_file_replaced_by_one_of_the_same_length_is_not_stored_as_the_old_one(fruit_folder: Path) -> None:
    images = open_images(fruit_folder).list_images(split="Training", classes=["Kiwi"])
    images = hash_images(images, source=ClassFolders(fruit_folder), known=images.assign(etag=""))
    file = fruit_folder / images["path"][0]
    content = file.read_bytes()
    file.with_suffix(".new").write_bytes(content[::-1])
    file.with_suffix(".new").replace(file)
    found, errors = read_rows(fruit_folder, images.to_dict("records"))
    assert (found, errors) == (1, [(images["path"][0], "read", "changed since it was listed; run again")])


@pytest.mark.parametrize("stage", ["read", "decode"])
def test_lack_of_memory_names_the_image(stage: str, fruit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    where, name = (ClassFolders, "read") if stage == "read" else (Image.Image, "resize")
    monkeypatch.setattr(where, name, fail)
    with pytest.raises(MemoryError, match=rf"^'Training/Apple Braeburn/0_100.jpg': no memory to {stage}"):
        extract_here(fruit_folder, predict_colour)


def test_a_forward_pass_takes_at_most_batch_size_and_no_pass_is_empty(fruit_folder: Path) -> None:
    sizes = []
    for path in open_images(fruit_folder).list_images(split="Training", classes=["*"])["path"][:4]:
        (fruit_folder / path).write_bytes(b"no image")

    def note(pixels: Any) -> Any:
        sizes.append(pixels.shape)
        return predict_colour(pixels)

    table, errors = extract_here(fruit_folder, note, batch_size=2)
    assert sizes == [(2, 224, 224, 3), (2, 224, 224, 3), (1, 224, 224, 3)]
    assert (len(table), len(errors)) == (5, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: np.zeros((len(p), 1000), np.float32),
        lambda p: np.zeros((len(p) + 1, 1280), np.float32),
        lambda p: np.full((len(p), 1280), np.nan, np.float32),
        lambda p: np.full((len(p), 1280), np.inf, np.float32),
    ],
    ids=["1000 wide", "a row too many", "NaN", "infinite"],
)
def test_a_broken_model_is_no_bad_image(wrong: Callable[..., Any], fruit_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"allowed: \(4, 1280\), finite"):
        extract_here(fruit_folder, wrong)


@pytest.mark.parametrize("error", [RuntimeError, OSError, ValueError])
def test_an_exception_of_the_model_is_not_caught(error: type[Exception], fruit_folder: Path) -> None:
    def predict(_: Any) -> Any:
        raise error("broken model")

    with pytest.raises(error, match="broken model"):
        extract_here(fruit_folder, predict)


class SlowFolder(ClassFolders):
    """Gives no answer for the images of some classes."""

    def read(self, path: str, *, tag: str = "") -> bytes:
        if "Apple" in path:
            time.sleep(30)
        return super().read(path, tag=tag)


def extract_slowly(folder: Path, errors: Rows, classes: list[str]) -> list[pa.RecordBatch]:
    images = open_images(folder).list_images(split="Training", classes=classes)
    slow = SlowFolder(folder)
    extractor = replace(make_extractor(folder, predict_colour, errors=errors), source=slow, image_seconds=0.1)
    return list(extractor.extract(pa.Table.from_pandas(images).to_batches()))


def test_images_that_give_no_answer_are_error_rows(fruit_folder: Path) -> None:
    errors = Rows()
    found = extract_slowly(fruit_folder, errors, ["Apple Braeburn", "Kiwi"])
    assert [(stage, reason) for _, stage, reason in errors] == [("read", "no answer in 0.1 s")] * 4
    assert set(pa.Table.from_batches(found)["label"].to_pylist()) == {"Kiwi"}


def test_when_nothing_gives_an_answer_the_task_fails_and_names_images(fruit_folder: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        RuntimeError, match=r"Training/Apple.*0_100\.jpg, .*no answer in 0\.1 s; is the disk or the network"
    ):
        extract_slowly(fruit_folder, Rows(), ["Apple*"])
    assert time.monotonic() - started < 10


def test_an_image_that_gives_no_answer_times_out() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"), limit_image(0.1):
        time.sleep(30)
    assert time.monotonic() - started < 5
    with limit_image(0.05):
        pass
    time.sleep(0.1)  # the alarm is off


def test_another_thread_has_no_limit() -> None:
    def work() -> str:
        with limit_image(0.01):
            time.sleep(0.05)
        return "done"

    with ThreadPoolExecutor(1) as pool, limit_image(30):
        assert pool.submit(work).result() == "done"


def test_what_hears_no_signal_ends_with_its_process() -> None:
    code = """
import signal, time
from fruits.features.udf import limit_image, limit_slice
with limit_slice(30):
    pass
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
with limit_slice(0.5), limit_image(0.1):
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "Timeout (0:00:00.500000)!" in done.stderr
