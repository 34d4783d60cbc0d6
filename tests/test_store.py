"""The store of features: whole batches only, each image once, known by its content."""

import hashlib
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import put
from PIL import Image
from pyspark import TaskContext
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

from fruits.errors import FruitsError
from fruits.features.batches import _keep_files, list_batches, write_batch
from fruits.features.store import find_earlier, find_missing, list_known, read_features
from fruits.images import open_images
from fruits.images.rows import LISTED, NAMES, STORED, spark_schema
from fruits.images.shards import SCHEMA
from fruits.images.source import hash_images, read_as_listed
from fruits.pca import fit_pca
from fruits_cli.pack import pack_images

Write = Callable[..., Path]


def list_some(*numbers: int, **changes: Any) -> pd.DataFrame:
    rows = [
        (f"Training/Pêche à l'eau/{n}.jpg", "Pêche à l'eau", "Training", 7, 1_700_000_000, f"{n:064x}") for n in numbers
    ]
    return pd.DataFrame(rows, columns=LISTED).assign(**changes)


def number_features(image: int) -> list[float]:
    return list((np.arange(1280, dtype=np.float32) / 3 + image).tolist())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "features" / "model"


@pytest.fixture
def write(spark: SparkSession, store: Path) -> Write:
    def write_rows(images: pd.DataFrame, *, folder: Path = store, tag: Any = "") -> Path:
        rows = images.assign(etag=tag, features=[number_features(n) for n in range(len(images))])
        return write_batch(spark.createDataFrame(rows, spark_schema(STORED)).coalesce(1), iter, store=folder)

    return write_rows


def read_rows(spark: SparkSession, images: pd.DataFrame, store: Path) -> pd.DataFrame:
    return read_features(spark, images, store=store).to_dataframe().toPandas().sort_values("path", ignore_index=True)


def test_an_empty_store_lacks_everything(spark: SparkSession, store: Path) -> None:
    images = list_some(0, 1)
    pd.testing.assert_frame_equal(find_missing(images, store=store), images)
    found = read_features(spark, images, store=store)
    assert found.to_dataframe().columns == ["path", "label", "split", "features"]
    assert (len(found), found.to_dataframe().count()) == (0, 0)


def test_features_come_back_for_the_wanted_rows_alone_and_exact(spark: SparkSession, store: Path, write: Write) -> None:
    write(list_some(0, 1, 2))
    write(list_some(3))
    assert find_missing(list_some(3, 9, 0), store=store)["path"].tolist() == list_some(9)["path"].tolist()
    found = read_rows(spark, list_some(1, 3, 9), store)
    assert found[["path", "label", "split"]].equals(list_some(1, 3)[["path", "label", "split"]])
    right = np.array([number_features(1), number_features(0)], np.float32)
    np.testing.assert_array_equal(np.stack(found["features"].to_list()), right)


@pytest.mark.parametrize("digest", ["", "ab" * 32, "etag:ab-7"])
def test_an_image_of_another_content_is_missing(digest: str, spark: SparkSession, store: Path, write: Write) -> None:
    write(list_some(0, 1))
    now = pd.concat([list_some(0, digest=digest), list_some(1)], ignore_index=True)
    assert find_missing(now, store=store).equals(now[:1])
    assert read_rows(spark, now, store)["path"].tolist() == [now["path"][1]]


def test_the_same_content_under_other_names_is_there_under_these(
    spark: SparkSession, store: Path, write: Write
) -> None:
    write(list_some(0, 1))
    copies = [list_some(0, path=f"Test/A/{name}", label="A", split="Test", modified=0) for name in ("b.jpg", "a.png")]
    now = pd.concat([*copies, list_some(0)], ignore_index=True)
    assert find_missing(now, store=store).empty
    found = read_rows(spark, now, store)
    names = list(NAMES)
    pd.testing.assert_frame_equal(found[names], now[names].sort_values("path", ignore_index=True))
    assert found["features"].map(list).tolist() == [number_features(0)] * 3


def test_an_image_of_s3_is_known_by_its_tag_and_by_its_content(spark: SparkSession, store: Path, write: Write) -> None:
    write(list_some(0), tag="etag:0-7")
    write(list_some(1))
    now = pd.concat(
        [list_some(0), list_some(0, path="Test/s3.jpg", digest="etag:0-7"), list_some(1)], ignore_index=True
    )
    assert find_missing(now, store=store).empty
    assert read_rows(spark, now, store)["path"].tolist() == sorted(now["path"])


def test_batches_of_an_earlier_version_are_passed_over(spark: SparkSession, store: Path, write: Write) -> None:
    (file,) = write(list_some(0, 1)).glob("*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["digest", "etag"]), file)
    assert find_missing(list_some(0, 1), store=store).equals(list_some(0, 1))
    assert find_earlier(list_some(1, 2), store=store).equals(list_some(1))
    assert find_earlier(list_some(1, modified=7), store=store).empty
    assert list_known(store).empty
    write(list_some(1))
    assert find_missing(list_some(0, 1), store=store).equals(list_some(0))
    assert list_known(store)["length"].tolist() == [7]
    assert read_rows(spark, list_some(0, 1), store)["path"].tolist() == list_some(1)["path"].tolist()


@pytest.mark.parametrize("kind", ["files", "S3", "shards"])
def test_of_what_an_earlier_version_stored_turned_images_alone_are_missing(
    spark: SparkSession, store: Path, write: Write, tmp_path: Path, image_bytes: Callable[..., bytes], kind: str
) -> None:
    """It knew them by their SHA-256 or tag, as if they were upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = [image_bytes(seed=1), image_bytes(seed=2, exif=exif)]
    for name, content in zip("ab", contents, strict=True):
        put(tmp_path / "in", f"Training/Kiwi/{name}.jpg", content=content)
    listed = open_images(tmp_path / "in").list_images(split="Training", classes=["*"])
    earlier = listed.assign(digest=[hashlib.sha256(content).hexdigest() for content in contents])
    write(earlier, tag=["etag:a-9", "etag:b-9"] if kind == "S3" else "")
    folder = tmp_path / "in"
    if kind == "S3":
        listed["digest"] = ["tag:a-9", "tag:b-9"]
    if kind == "shards":
        pack_images(tmp_path / "in", folder := tmp_path / "packed")
        shard = earlier.assign(content=contents)
        pq.write_table(pa.Table.from_pandas(shard, schema=SCHEMA.remove_metadata()), folder / "images-00000.parquet")
        listed = open_images(folder).list_images(split="Training", classes=["*"])
    now = hash_images(listed, source=open_images(folder), known=list_known(store))
    assert find_missing(now, store=store)["path"].tolist() == ["Training/Kiwi/b.jpg"]
    for image in now.itertuples():
        read_as_listed(open_images(folder), image.path, length=image.length, digest=image.digest)


def test_a_batch_without_its_marker_is_not_there(spark: SparkSession, store: Path, write: Write) -> None:
    whole, broken = write(list_some(0)), write(list_some(1))
    (broken / "_SUCCESS").unlink()
    (store / "batch-killed" / "_temporary" / "0").mkdir(parents=True)
    (store / "batch-killed" / "_temporary" / "0" / "part-0.parquet").write_bytes(b"PAR1 half")
    assert list_batches(store) == [whole]
    assert find_missing(list_some(0, 1), store=store).equals(list_some(1))
    assert read_rows(spark, list_some(0, 1), store)["path"].tolist() == list_some(0)["path"].tolist()


def test_an_image_that_two_runs_computed_comes_back_once(spark: SparkSession, store: Path, write: Write) -> None:
    write(list_some(0, 1))
    write(list_some(1, 2))
    assert len(list_batches(store)) == 2
    assert read_rows(spark, list_some(0, 1, 2), store)["path"].tolist() == list_some(0, 1, 2)["path"].tolist()


@pytest.mark.parametrize("name", ["my data [v1]", "a{b,c}", "été 100% #2", "x=y"])
def test_an_output_folder_may_have_any_name(name: str, spark: SparkSession, tmp_path: Path, write: Write) -> None:
    store = tmp_path / name / "features" / "model"
    write(list_some(0, 1), folder=store)
    assert find_missing(list_some(0, 1), store=store).empty
    assert len(read_rows(spark, list_some(0, 1), store)) == 2


def test_the_file_of_an_attempt_that_does_not_count_is_removed(
    store: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.features.batches.name_batch", lambda _: "batch-1")
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    other = store / "batch-1-00000000" / "part-0.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"PAR1")
    batch = write(list_some(0))
    assert batch == other.parent
    assert sorted(file.suffix for file in batch.iterdir()) == ["", ".parquet"]
    assert not other.exists()


def test_a_batch_that_fails_leaves_nothing(spark: SparkSession, store: Path) -> None:
    def fail(batches: Any) -> Any:
        yield from batches
        if TaskContext.get().partitionId():  # type: ignore[union-attr]
            raise OSError(28, "No space left on device")

    rows = list_some(0, 1).assign(etag="", features=[number_features(0)] * 2)
    with pytest.raises(PythonException, match="No space left"):
        write_batch(spark.createDataFrame(rows, spark_schema(STORED)).repartition(2), fail, store=store)
    assert list(store.glob("batch-*")) == []


def test_files_that_the_driver_does_not_see_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        FruitsError, match="this machine does not see them; set output_dir to a folder that all machines"
    ):
        _keep_files(tmp_path, {"part-1.parquet"})


def test_every_parquet_file_holds_path_and_features(store: Path, write: Write) -> None:
    write(list_some(0, 1))
    write(list_some())
    files = list(store.rglob("*.parquet"))
    assert len(files) == len(list_batches(store)) == 1  # a batch without features leaves nothing
    for file in files:
        assert {"path", "features"} <= {*pq.read_schema(file).names}
        assert len(pq.read_table(file)["features"].combine_chunks().flatten()) % 1280 == 0


def test_a_removed_batch_is_missing_again(store: Path, write: Write) -> None:
    shutil.rmtree(write(list_some(0)))
    assert find_missing(list_some(0), store=store).equals(list_some(0))


def flip_bit(file: Path, *, column: str) -> None:
    """Damage a value in the middle of a column, as a disk does; Spark's own checksum files would not notice."""
    whole = pq.read_metadata(file)
    names = [whole.row_group(0).column(number).path_in_schema.split(".")[0] for number in range(whole.num_columns)]
    chunk = whole.row_group(0).column(names.index(column))
    content = bytearray(file.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("column", ["path", "features"])
def test_a_flipped_bit_is_told_with_what_to_remove(column: str, spark: SparkSession, store: Path, write: Write) -> None:
    images = list_some(*range(40))
    batch = write(images)
    (file,) = batch.glob("*.parquet")
    flip_bit(file, column=column)
    said = rf"{file} cannot be read \(.*CRC checksum.*\); remove the folder {batch}: the next run computes it anew"
    with pytest.raises(FruitsError, match=said):
        fit_pca(read_features(spark, images, store=store), k=2)
    shutil.rmtree(batch)
    assert len(find_missing(images, store=store)) == 40


def test_a_file_that_is_cut_between_finding_and_reading_is_told(spark: SparkSession, store: Path, write: Write) -> None:
    images = list_some(0, 1)
    batch = write(images)
    features = read_features(spark, images, store=store)
    (file,) = batch.glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FruitsError, match=f"the PCA failed: .*{file} cannot be read .* remove the folder {batch}:"):
        fit_pca(features, k=2)


def test_sums_do_not_depend_on_how_the_store_was_filled(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.features.store.BLOCK", 16)
    rng = np.random.default_rng(3)
    images = list_some(*range(50)).assign(etag="", features=list(rng.normal(9, 1, (50, 1280)).astype(np.float32)))
    mixed = images.sample(frac=1, random_state=1)
    for store, batches in {"one": [images], "three": [mixed[:7], mixed[7:30], mixed[30:]]}.items():
        for batch in batches:
            write_batch(spark.createDataFrame(batch, spark_schema(STORED)).coalesce(1), iter, store=tmp_path / store)

    one, three = (fit_pca(read_features(spark, images, store=tmp_path / store), k=5) for store in ("one", "three"))

    np.testing.assert_array_equal(one.components, three.components)
    np.testing.assert_array_equal(one.spectrum, three.spectrum)
    found = read_features(spark, images, store=tmp_path / "three").to_dataframe().toPandas()
    assert found["path"].tolist() == sorted(images["path"])
    wanted = images.set_index("path")["features"]
    np.testing.assert_array_equal(np.stack(found["features"]), np.stack(wanted[found["path"]]))
