"""Packed images: the same listing, the same bytes, the same features as the folders they came from."""

import hashlib
import os
import pickle
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import put

from fruits.errors import FruitsError, UsageError
from fruits.images import open_images
from fruits.images.shards import SCHEMA, PackedShards, list_shards
from fruits.images.source import hash_images
from fruits.images.tree import ClassFolders
from fruits.local import LocalFolder
from fruits_cli.pack import pack_images


@pytest.fixture
def packed(fruit_folder: Path, tmp_path: Path) -> Path:
    os.utime(fruit_folder / "Test/Kiwi/0_100.jpg", ns=(1, 1_600_000_000_123_456_789))  # which must survive
    (fruit_folder / "Training/Kiwi/d'été #1 [2].jpg").write_bytes(b"no image")
    (fruit_folder / "Training/Kiwi/empty.JPG").touch()
    pack_images(fruit_folder, tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.parametrize("split", ["Training", "Test"])
@pytest.mark.parametrize("classes", [["*"], ["Apple*"], ["Kiwi", "*Golden*"]])
def test_listing_is_that_of_the_folders(fruit_folder: Path, packed: Path, split: str, classes: list[str]) -> None:
    images = open_images(packed).list_images(split=split, classes=classes)
    loose = open_images(fruit_folder).list_images(split=split, classes=classes)
    digests = [hashlib.sha256((fruit_folder / path).read_bytes()).hexdigest() for path in loose["path"]]
    pd.testing.assert_frame_equal(images, loose.assign(digest=digests))


def test_images_beside_the_class_folders_are_packed_too(fruit_folder: Path, tmp_path: Path) -> None:
    names = ["loose.jpg", "Training/beside.jpg", "Training/Kiwi/deep/1.jpg", "Other/1.jpg"]
    put(fruit_folder, *names)
    assert pack_images(fruit_folder, tmp_path / "packed").images == 16
    packed, loose = open_images(tmp_path / "packed"), open_images(fruit_folder)
    for split in ("Training", "Test"):
        here, there = (images.list_images(split=split, classes=["*"]) for images in (packed, loose))
        pd.testing.assert_frame_equal(here.drop(columns="digest"), there.drop(columns="digest"))
    everything = packed.list_images(split="all", classes=["*"]).set_index("path")
    assert everything.loc[names, "split"].tolist() == ["all", "all", "Training", "all"]


def test_shards_of_an_earlier_version_are_listed_without_digests(fruit_folder: Path, packed: Path) -> None:
    (shard,) = list_shards(packed)
    pq.write_table(pq.read_table(shard).drop_columns(["digest"]), shard)
    images, loose = (
        open_images(folder).list_images(split="Training", classes=["*"]) for folder in (packed, fruit_folder)
    )
    pd.testing.assert_frame_equal(images, loose)
    known = hash_images(images, source=open_images(packed), known=images.assign(etag=""))
    pd.testing.assert_frame_equal(
        known, hash_images(loose, source=open_images(fruit_folder), known=loose.assign(etag=""))
    )
    assert known["digest"].map(len).tolist() == [64] * len(loose)


@pytest.mark.parametrize("shard_bytes", [1, 1500, 10**9])
def test_every_image_comes_back_in_any_order(fruit_folder: Path, tmp_path: Path, shard_bytes: int) -> None:
    report = pack_images(fruit_folder, tmp_path / "packed", shard_bytes=shard_bytes)
    files = {file.relative_to(fruit_folder).as_posix(): file.read_bytes() for file in fruit_folder.rglob("*.jpg")}
    source = pickle.loads(pickle.dumps(open_images(tmp_path / "packed")))  # noqa: S301 - as Spark sends it

    assert isinstance(source, PackedShards)
    assert {path: source.read(path) for path in sorted(files, key=lambda path: path[::-1])} == files
    sizes = [sum(pq.read_table(shard)["length"].to_pylist()) for shard in list_shards(tmp_path / "packed")]
    starts = [0, *accumulate(len(files[path]) for path in sorted(files))][:-1]
    shards = len({start // shard_bytes for start in starts})
    assert (len(sizes), report.shards, report.images) == (shards, shards, 12)
    assert sum(sizes) == sum(map(len, files.values()))


def test_row_groups_are_found_by_their_first_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_cli.pack.GROUP_ROWS", 3)
    (tmp_path / "images/Training/a").mkdir(parents=True)
    for number in range(10):
        (tmp_path / f"images/Training/a/{number}.jpg").write_bytes(bytes([number]))
    pack_images(tmp_path / "images", tmp_path / "packed")
    source = PackedShards(tmp_path / "packed")
    assert pq.ParquetFile(list_shards(tmp_path / "packed")[0]).num_row_groups == 4
    assert [source.read(f"Training/a/{number}.jpg")[0] for number in (9, 0, 3, 2, 5)] == [9, 0, 3, 2, 5]
    # Threads that ask for images of all groups each get their own, and take turns with the file.
    busy, read_group, numbers = Lock(), pq.ParquetFile.read_row_group, [0, 9, 3, 6] * 5

    def read_alone(self: pq.ParquetFile, *arguments: Any, **options: Any) -> pa.Table:
        assert busy.acquire(blocking=False)
        time.sleep(0.002)
        busy.release()
        return read_group(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_alone)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda number: source.read(f"Training/a/{number}.jpg")[0], numbers)) == numbers


def test_the_same_images_make_the_same_bytes_and_replace_the_old_pack(fruit_folder: Path, packed: Path) -> None:
    before = [shard.read_bytes() for shard in list_shards(packed)]
    pack_images(fruit_folder, packed)
    assert [shard.read_bytes() for shard in list_shards(packed)] == before
    assert b"pandas" not in before[0]


def test_what_cannot_be_read_is_told_and_stays_an_error(fruit_folder: Path, tmp_path: Path) -> None:
    (fruit_folder / "Training/Kiwi/gone.jpg").symlink_to("nowhere.jpg")
    (fruit_folder / os.fsdecode(b"Test/Kiwi/p\xeache.jpg")).write_bytes(b"x")
    report = pack_images(fruit_folder, tmp_path / "packed")
    source = PackedShards(tmp_path / "packed")

    assert sorted(report.unreadable) == [r"Test/Kiwi/p\udceache.jpg", "Training/Kiwi/gone.jpg"]
    listed = open_images(tmp_path / "packed").list_images(split="Test", classes=["*"])
    assert r"Test/Kiwi/p\udceache.jpg" in listed["path"].to_numpy()
    for name, reason in (("gone", "when it was packed"), ("x", "not in the sh")):
        with pytest.raises(OSError, match=reason):
            source.read(f"Training/Kiwi/{name}.jpg")


def test_what_changes_while_it_is_packed_is_told(
    fruit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_and_change(tree: ClassFolders, *, split: str, classes: list[str]) -> pd.DataFrame:
        images = list_images(tree, split=split, classes=classes)
        image = tree.folder / images["path"].iloc[-1]
        if split == "Test":
            image.write_bytes(image.read_bytes()[::-1])
        else:
            image.write_bytes(b"longer" * 1000)
        return images

    list_images = ClassFolders.list_images
    monkeypatch.setattr(ClassFolders, "list_images", list_and_change)
    report = pack_images(fruit_folder, tmp_path / "packed")
    assert report.unreadable == ["Training/Kiwi/1_100.jpg"]
    # What is packed is what was read, and is known by that.
    packed = open_images(tmp_path / "packed")
    ((path, digest),) = packed.list_images(split="Test", classes=["Kiwi"])[["path", "digest"]].to_numpy()
    assert digest == hashlib.sha256(packed.read(path)).hexdigest()


def test_only_one_split_may_be_there(fruit_folder: Path, tmp_path: Path) -> None:
    for file in (fruit_folder / "Test").rglob("*.jpg"):
        file.unlink()
    pack_images(fruit_folder, tmp_path / "packed")
    with pytest.raises(UsageError, match="holds no Test images, but Training"):
        open_images(tmp_path / "packed").list_images(split="Test", classes=["*"])
    with pytest.raises(UsageError, match=r"'apple\*' matches none of the 3 classes of Training packed .* 'Apple Brae"):
        open_images(tmp_path / "packed").check_classes(split="Training", classes=["apple*"])


def test_refusals_lose_nothing(fruit_folder: Path, packed: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for source, target, reason in (
        (packed, tmp_path / "new", "is packed already"),
        (fruit_folder, fruit_folder, "holds other things than shards .*Test"),
        (fruit_folder, fruit_folder / "Training/Kiwi/0_100.jpg", "holds other things than shards"),
        (tmp_path / "nowhere", tmp_path / "new", "nowhere cannot be listed"),
        (fruit_folder, fruit_folder / "packed", "packed lies inside .*, the images to pack"),
        (fruit_folder, fruit_folder / "Training/Kiwi/new", "new lies inside"),
        (tmp_path / "empty/images", tmp_path / "empty", "empty holds .*, the images to pack"),
    ):
        with pytest.raises(UsageError, match=reason):
            pack_images(source, target)
    (tmp_path / "hollow/Training/Kiwi").mkdir(parents=True)
    with pytest.raises(UsageError, match="hollow holds no images, and nothing else"):
        pack_images(tmp_path / "hollow", tmp_path / "new")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_parquet_file_that_is_no_shard_is_named(tmp_path: Path) -> None:
    shard = tmp_path / "images-00000.parquet"
    shard.write_bytes(b"PAR1 half")
    with pytest.raises(FruitsError, match=r"0\.parquet cannot be read .* remove .* and pack it anew"):
        open_images(tmp_path).list_images(split="Training", classes=["*"])
    pq.write_table(SCHEMA.empty_table().drop_columns(["content"]), shard)
    with pytest.raises(UsageError, match=r"0\.parquet is no shard of packed images: it has the columns path, label"):
        open_images(tmp_path).list_images(split="Training", classes=["*"])


def write_sales(folder: Path, name: str = "sales.parquet") -> None:
    folder.mkdir()
    pq.write_table(pa.table({"precious": [1, 2, 3]}), folder / name)


def write_damage(folder: Path) -> None:
    put(folder, "images-00000.parquet", content=b"PAR1 half")


SPOILT: dict[str, Callable[[Path], Any]] = {
    "sales": write_sales,
    "another table": lambda folder: write_sales(folder, "images-00000.parquet"),
    "a note": lambda folder: (shutil.copytree(folder.parent / "packed", folder) / ".note").touch(),
    "damage": write_damage,
    "a folder": lambda folder: (folder / "images-00000.parquet").mkdir(parents=True),
    "a link": lambda folder: folder.symlink_to("nowhere"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_folder_with_anything_else_in_it_stays(
    fruit_folder: Path, packed: Path, tmp_path: Path, spoil: Callable[[Path], Any]
) -> None:
    spoil(tmp_path / "mine")
    before = [(file, file.is_file() and file.read_bytes()) for file in (tmp_path / "mine").rglob("*")]
    with pytest.raises(UsageError, match=r"mine holds other things than shards of packed images \(.+\); name a new"):
        pack_images(fruit_folder, tmp_path / "mine")
    assert [(file, file.is_file() and file.read_bytes()) for file in (tmp_path / "mine").rglob("*")] == before


def test_files_that_are_no_shards_make_no_packed_folder(fruit_folder: Path, packed: Path) -> None:
    images = open_images(packed).list_images(split="Training", classes=["*"])
    for name in ("._images-00000.parquet", "images-1.parquet", "images-00000.parquet.bak", "notes.parquet"):
        shutil.copy(packed / "images-00000.parquet", packed / name)
        shutil.copy(packed / "images-00000.parquet", fruit_folder / name)
    (fruit_folder / "images-00001.parquet").mkdir()

    assert len(list_shards(packed)) == 1
    pd.testing.assert_frame_equal(open_images(packed).list_images(split="Training", classes=["*"]), images)
    assert open_images(fruit_folder).list_images(split="Training", classes=["*"])["path"].equals(images["path"])
    assert isinstance(open_images(fruit_folder), ClassFolders)


def test_shards_beside_class_folders_are_refused(fruit_folder: Path, packed: Path, tmp_path: Path) -> None:
    shutil.copy(packed / "images-00000.parquet", fruit_folder)
    reason = r"holds packed images \(images-00000.parquet\) and class folders \(Test, Training\); keep one of the two"
    for use in (
        lambda: open_images(fruit_folder).list_images(split="Training", classes=["*"]),
        lambda: open_images(fruit_folder).list_ignored(split="Training", classes=["*"]),
        lambda: open_images(fruit_folder).check_classes(split="Training", classes=["*"]),
        lambda: open_images(fruit_folder),
        lambda: pack_images(fruit_folder, tmp_path / "new"),
    ):
        with pytest.raises(UsageError, match=reason):
            use()


def test_nobody_cleans_up_where_images_are_packed(
    fruit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any, **__: Any) -> bytes:
        with pytest.raises(FruitsError, match="a run is at work in"), LocalFolder(tmp_path / "place").held_alone():
            pass
        raise InterruptedError

    monkeypatch.setattr(ClassFolders, "read", read)
    assert len(pack_images(fruit_folder, tmp_path / "place/packed").unreadable) == 12


def test_a_split_that_cannot_be_listed_is_not_left_out(fruit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(folder: Path) -> Any:
        if "Test" in folder.parts:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(UsageError, match="Test cannot be listed"):
        pack_images(fruit_folder, fruit_folder.parent / "packed")
