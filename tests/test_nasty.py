"""The nasty corpus, from the decoder to the saved tables: features or a reason a person understands, nothing lost."""

import csv
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nasty
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from nasty import Nasty
from pyspark.sql import SparkSession

from fruits.features import extraction
from fruits.features.extraction import Computation, compute_features
from fruits.features.model import Backbone
from fruits.features.store import StoredFeatures, read_features
from fruits.images import open_images
from fruits.images.decode import DecodeError, decode_image
from fruits.images.shards import list_shards
from fruits.pca import fit_pca
from fruits.results import METADATA, SCORES, SCORES_CSV, check_results, read_scores, reconcile, save_results
from fruits_cli.pack import pack_images

ROWS = {row.listed: row for row in nasty.rows()}
GOOD = sorted(path for path, row in ROWS.items() if not row.stage)


@dataclass(frozen=True)
class Outcome:
    """What came of a folder: what was listed, computed and stored."""

    images: pd.DataFrame
    done: Computation
    stored: StoredFeatures

    def table(self) -> pd.DataFrame:
        return self.stored.to_dataframe().toPandas().sort_values("path", ignore_index=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nasty")
    nasty.write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def packed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "packed"
    pack_images(corpus, folder)
    return folder


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Compute features whose answers are known: the mean colour."""

    def build() -> Callable[[Any], Any]:
        return lambda pixels: np.pad(pixels.mean(axis=(1, 2)), ((0, 0), (0, 1277))).astype(np.float32)

    def run_on(folder: Path, images: pd.DataFrame) -> Outcome:
        store = tmp_path_factory.mktemp("store")
        about: dict[str, Any] = {"weights": "fake", "engine": "litert", "tensors": 0, "parameters": 0, "bytes": 0}
        backbone = Backbone(sha256=uuid.uuid4().hex, folder=store, **about)
        options: dict[str, Any] = {"backbone": backbone, "batch_size": 8, "images_per_task": 1024}
        done = compute_features(spark, images, input_dir=folder, store=store, **options)
        return Outcome(images, done, read_features(spark, done.images, store=store))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "broadcast_engine", lambda *_: build)
        yield run_on


@pytest.fixture(scope="module")
def loose(run: Run, corpus: Path) -> Outcome:
    return run(corpus, open_images(corpus).list_images(split="Training", classes=["*"]))


@pytest.mark.parametrize("row", [row for row in ROWS.values() if isinstance(row.content, bytes)], ids=lambda r: r.path)
def test_bytes_become_pixels_or_a_reason(row: Nasty) -> None:
    assert isinstance(row.content, bytes)
    if row.stage == "decode":
        with pytest.raises(DecodeError) as caught:
            decode_image(row.content)
        assert re.fullmatch(row.reason, str(caught.value))
    else:
        pixels = decode_image(row.content)
        assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.dtype(np.uint8))


def test_the_corpus_is_large_enough() -> None:
    assert len(ROWS) >= 40
    assert len({row.path.split("/")[1] for row in ROWS.values()}) >= 15


def test_everything_is_listed_or_ignored(corpus: Path, packed: Path) -> None:
    images = open_images(corpus).list_images(split="Training", classes=["*"])
    assert set(images["path"]) == set(ROWS)
    ignored = open_images(corpus).list_ignored(split="Training", classes=["*"])
    kinds = {path: kind for path, (kind, _) in nasty.IGNORED.items()}
    assert list(zip(ignored["path"], ignored["kind"], strict=True)) == sorted(kinds.items())
    assert images["label"].tolist() == [path.split("/")[-2] for path in images["path"]]
    tight = open_images(packed).list_images(split="Training", classes=["*"])
    pd.testing.assert_frame_equal(tight.assign(digest=""), images)
    nothing = open_images(packed).list_ignored(split="Training", classes=["*"])
    assert (len(nothing), list(nothing.columns)) == (0, ["path", "kind", "reason"])


def test_listed_is_features_plus_errors(loose: Outcome, corpus: Path) -> None:
    errors = {path: (stage, reason) for path, stage, reason in loose.done.errors}
    done = loose.done
    assert reconcile(listed=len(ROWS), features=done.features, computed=done.computed, errors=len(done.errors))
    assert {path: stage for path, (stage, _) in errors.items()} == {p: r.stage for p, r in ROWS.items() if r.stage}
    for path, (_, reason) in errors.items():
        assert re.fullmatch(ROWS[path].reason, reason)
    table = loose.table()
    assert table["path"].tolist() == GOOD
    colours = [decode_image((corpus / path).read_bytes()).mean(axis=(0, 1)) for path in GOOD]
    np.testing.assert_allclose(np.stack(table["features"])[:, :3], colours, atol=1e-3)


def test_packed_is_the_same(loose: Outcome, run: Run, packed: Path) -> None:
    tight = run(packed, open_images(packed).list_images(split="Training", classes=["*"]))
    assert len(list_shards(packed)) == 1
    pd.testing.assert_frame_equal(tight.table(), loose.table())
    for ours, theirs in zip(sorted(tight.done.errors), sorted(loose.done.errors), strict=True):
        assert ours == theirs or ours[1] == theirs[1] == "read"
        assert ours[2] == theirs[2] or ours[2] == "could not be read when it was packed"


def test_names_survive_the_saved_tables(loose: Outcome, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "NASTY"
    pca = fit_pca(loose.stored, k=3)
    save_results(
        folder,
        scores=pca.collect_scores(loose.stored),
        images=loose.images,
        pca=pca,
        errors=loose.done.errors,
        owner={"target": "local", "input_dir": "/somewhere"},
    )
    check_results(folder, scores=read_scores(folder), pca=pca, paths=sorted(GOOD))
    labels = [path.split("/")[-2] for path in GOOD]
    with (folder / SCORES_CSV).open(newline="", encoding="utf-8") as stream:
        text = list(csv.DictReader(stream))
    assert [(row["path"], row["label"]) for row in text] == list(zip(GOOD, labels, strict=True))
    with (folder / METADATA).open(newline="", encoding="utf-8") as stream:
        assert [(row["path"], row["label"]) for row in csv.DictReader(stream)] == list(zip(GOOD, labels, strict=True))
    with (folder / "errors/errors.csv").open(newline="", encoding="utf-8") as stream:
        assert [tuple(row) for row in csv.reader(stream)][1:] == sorted(loose.done.errors)
    assert read_scores(folder)["label"].to_pylist() == labels
    assert sorted(ds.dataset(folder / SCORES).to_table()["path"].to_pylist()) == GOOD


def test_files_that_vanish_or_change_after_the_listing_are_errors(run: Run, fruit_folder: Path) -> None:
    images = open_images(fruit_folder).list_images(split="Training", classes=["*"])
    gone, grown, cut, folder = images["path"][[0, 2, 5, 7]]
    before = (fruit_folder / grown).read_bytes()
    (fruit_folder / gone).unlink()
    (fruit_folder / grown).write_bytes(before + b"more")
    (fruit_folder / cut).write_bytes(b"")
    (fruit_folder / folder).unlink()
    (fruit_folder / folder).mkdir()

    done = run(fruit_folder, images).done

    changed = "changed since it was listed; run again"
    assert sorted(done.errors) == [
        (gone, "read", "No such file or directory"),
        (grown, "read", changed),
        (cut, "read", changed),
        (folder, "read", "Is a directory"),
    ]
    assert done.features == 5


@pytest.mark.parametrize("content", [b"no image", b""], ids=["text", "empty"])
def test_one_class_of_one_bad_image(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Training/Kiwi").mkdir(parents=True)
    (tmp_path / "Training/Kiwi/1.jpg").write_bytes(content)
    outcome = run(tmp_path, open_images(tmp_path).list_images(split="Training", classes=["*"]))
    assert (outcome.done.features, len(outcome.done.errors), len(outcome.stored)) == (0, 1, 0)
