"""Class folders to a table: everything that is an image by name, whatever is in it, and nothing twice."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pandas as pd
import pytest

from fruits.errors import UsageError
from fruits.images.listing import check_classes, find_ignored, has_images, list_images
from fruits.images.source import open_source, spell_name


def put(root: Path, *files: str, content: bytes = b"x") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    return root


def paths(root: Path, classes: Sequence[str] = ("*",), split: str = "Training") -> list[str]:
    return list_images(root, split=split, classes=classes)["path"].tolist()


def test_table_has_a_row_for_every_image(fruit_folder: Path) -> None:
    table = list_images(fruit_folder, split="Training", classes=["Apple*"])
    files = sorted((fruit_folder / "Training").glob("Apple*/*"))
    expected = {
        "path": [file.relative_to(fruit_folder).as_posix() for file in files],
        "label": ["Apple Braeburn"] * 4 + ["Apple Golden 1"] * 3,
        "split": ["Training"] * 7,
        "length": [file.stat().st_size for file in files],
        "modified": [file.stat().st_mtime_ns for file in files],
        "digest": [""] * 7,
    }
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected))
    assert paths(fruit_folder, ["Kiwi"], "Test") == ["Test/Kiwi/0_100.jpg"]


@pytest.mark.parametrize("seconds", [-20_000_000_000, -1, 20_000_000_000])
def test_a_time_of_any_century_is_listed(fruit_folder: Path, seconds: int) -> None:
    """Nanoseconds since 1970 in 64 bits end in 1677 and 2262."""
    file = fruit_folder / "Test/Kiwi/0_100.jpg"
    os.utime(file, (seconds, seconds))
    nearest = max(-(2**63), min(file.stat().st_mtime_ns, 2**63 - 1))
    assert list_images(fruit_folder, split="Test", classes=["Kiwi"])["modified"].tolist() == [nearest]


def test_names_of_every_kind_are_listed_and_hidden_or_other_files_are_not(tmp_path: Path) -> None:
    odd = ["UPPER.JPG", "a b.jpeg", "c.Png", "d'été #1 [2] 50%.jpg", "two.dots.JPEG", "line\nbreak.png", "no suffix"]
    put(tmp_path / "Training/Pomme d'été", *odd)
    others = [".hidden.jpg", "notes.txt", "a.jpg.", "x.jpg.part", "Thumbs.db", "dir.jpg/y.txt"]
    put(tmp_path / "Training/Pomme d'été", *others)
    put(tmp_path / "Training", ".hidden/1.jpg", "no class.jpg")
    table = list_images(tmp_path, split="Training", classes=["Pomme d'été"])
    assert table["path"].tolist() == sorted(f"Training/Pomme d'été/{name}" for name in odd)
    assert set(table["label"]) == {"Pomme d'été"}


def test_empty_and_dangling_files_are_listed_with_length_zero(tmp_path: Path) -> None:
    put(tmp_path, "Training/Kiwi/empty.jpg", content=b"")
    (tmp_path / "Training/Kiwi/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "Training/Kiwi/loop.jpg").symlink_to("loop.jpg")
    put(tmp_path, "Training/Kiwi/seen.jpg", content=b"abc")
    table = list_images(tmp_path, split="Training", classes=["Kiwi"])
    assert [Path(path).stem for path in table["path"]] == ["empty", "gone", "loop", "seen"]
    assert table["length"].tolist() == [0, 0, 0, 3]


def test_label_is_the_parent_folder_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path, "Training/Citrus/Lemon/1.jpg", "Training/Citrus/2.jpg")
    table = list_images(tmp_path, split="Training", classes=["Lemon"])
    assert table[["path", "label"]].to_numpy().tolist() == [["Training/Citrus/Lemon/1.jpg", "Lemon"]]


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["*"], {"Apple Braeburn", "Apple Golden 1", "Kiwi"}),
        (["Apple Braeburn"], {"Apple Braeburn"}),
        (["Apple*", "Apple Braeburn", "*1"], {"Apple Braeburn", "Apple Golden 1"}),
        (["[BK]*", "Apple Golden ?"], {"Kiwi", "Apple Golden 1"}),
    ],
)
def test_globs_choose_classes_once(fruit_folder: Path, classes: list[str], labels: set[str]) -> None:
    table = list_images(fruit_folder, split="Training", classes=classes)
    assert set(table["label"]) == labels
    assert table["path"].is_unique


def test_folder_that_links_back_to_its_parents_ends(fruit_folder: Path) -> None:
    before = paths(fruit_folder)
    (fruit_folder / "Training/Kiwi/loop").symlink_to("..", target_is_directory=True)
    (fruit_folder / "Training/Kiwi/self").symlink_to("self", target_is_directory=True)
    assert paths(fruit_folder) == before


@pytest.mark.parametrize("alias", ["AAA", "Kiwj", "zzz"])
def test_linked_class_does_not_take_the_place_of_the_real_one(fruit_folder: Path, alias: str) -> None:
    before = paths(fruit_folder)
    (fruit_folder / "Training" / alias).symlink_to("Kiwi", target_is_directory=True)
    assert paths(fruit_folder) == before


def test_class_that_lies_elsewhere_is_followed(fruit_folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "disk/1.jpg")
    (fruit_folder / "Training/Plum").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert paths(fruit_folder, ["Plum"]) == ["Training/Plum/1.jpg"]


@pytest.mark.parametrize("glob", ["grape*", "Grape Bleu", "GRAPE BLUE", "Grape  *"])
def test_glob_that_matches_nothing_names_near_classes(fruit_folder: Path, glob: str) -> None:
    put(fruit_folder, "Training/Grape Blue/1.jpg", "Training/Apricot/1.jpg", "Training/Avocado/1.jpg")
    with pytest.raises(UsageError) as caught:
        check_classes(fruit_folder, split="Training", classes=["Kiwi", glob])
    assert repr(glob) in str(caught.value)
    assert "'Grape Blue'" in str(caught.value)
    assert str(fruit_folder / "Training") in str(caught.value)


def test_class_without_an_image_is_refused_as_early_as_a_missing_one(fruit_folder: Path) -> None:
    put(fruit_folder, "Training/Plum/notes.txt")
    with pytest.raises(UsageError, match="Plum"):
        check_classes(fruit_folder, split="Training", classes=["Kiwi", "Plum"])


def test_what_is_not_listed_is_found_in_the_classes_asked_for(fruit_folder: Path) -> None:
    put(fruit_folder / "Training", "Kiwi/.hidden.jpg", "Kiwi/Thumbs.db", "Apple Braeburn/a.txt", "no class.jpg")
    put(fruit_folder / "Training", "Kiwi/.cache/1.jpg", "Kiwi/.cache/2.jpg", "Plum/.DS_Store", "Test/Kiwi/a.txt")
    os.mkfifo(fruit_folder / "Training/Kiwi/pipe.jpg")
    (fruit_folder / "Training/Kiwi/device.jpg").symlink_to("/dev/null")
    (fruit_folder / "Training/Kiwi/gone").symlink_to("nowhere")
    names = [".cache", ".hidden.jpg", "Thumbs.db", "device.jpg", "gone", "pipe.jpg"]
    kiwi = ["Training/no class.jpg", *(f"Training/Kiwi/{name}" for name in names)]
    others = ["Training/Apple Braeburn/a.txt", "Training/Plum/.DS_Store", "Training/Test/Kiwi/a.txt"]
    assert find_ignored(fruit_folder, split="Training", classes=["Ki*", "Test"]) == sorted([*kiwi, others[2]])
    assert find_ignored(fruit_folder, split="Training", classes=["*"]) == sorted([*kiwi, *others])
    assert len(paths(fruit_folder)) == 9


def test_a_name_that_is_not_utf8_is_spelt_out_and_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, os.fsdecode(b"Training/P\xeache/1.jpg"), os.fsdecode(b"Training/Kiwi/\xff" + b"\xe9" * 200 + b".jpg"))
    table = list_images(tmp_path, split="Training", classes=["P?udceache", "Kiwi"])
    assert table["path"].tolist() == [
        "Training/Kiwi/\\udcff" + "\\udce9" * 200 + ".jpg",
        "Training/P\\udceache/1.jpg",
    ]
    assert set(table["label"]) == {"Kiwi", "P\\udceache"}
    for path in table["path"]:
        with pytest.raises(OSError, match=r"the name is not UTF-8, or .*; rename"):
            open_source(tmp_path).read(path)


ODD = [
    b"a\xea.jpg",
    rb"a\udcea.jpg",
    rb"a\\udcea.jpg",
    b"\\\xea.jpg",
    rb"\\\udcea.jpg",
    rb"\b.jpg",
    rb"\\b.jpg",
    rb"\udca.jpg",
]


def test_two_names_never_become_one(tmp_path: Path) -> None:
    put(tmp_path, *(os.fsdecode(b"Training/Kiwi/" + name) for name in ODD))
    found = paths(tmp_path)
    assert len(set(found)) == len(ODD)
    read = []
    for path in found:
        with contextlib.suppress(OSError):
            open_source(tmp_path).read(path)
            read.append(path)
    assert read == [rf"Training/Kiwi/{name}.jpg" for name in (r"\\b", r"\b", r"\udca")]  # spelt as they are


@hypothesis.given(st.lists(st.text("ac\\du\udcea\udccc", max_size=12), min_size=2, max_size=2, unique=True))
def test_spelling_keeps_any_two_names_apart(names: list[str]) -> None:
    assert len({spell_name(name) for name in [*names, *map(spell_name, names)]}) >= 2
    assert spell_name(names[0]) != spell_name(names[1])


def test_a_folder_that_cannot_be_listed_is_named(fruit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(folder: Path) -> Any:
        if folder.name == "Kiwi":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    for look in (list_images, check_classes, find_ignored):
        with pytest.raises(UsageError, match=r"Training/Kiwi cannot be listed \(Permission denied\); make it readable"):
            look(fruit_folder, split="Training", classes=["Apple*"])
    with pytest.raises(UsageError, match="Training/Kiwi cannot be listed"):
        has_images(fruit_folder, split="Training")


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_folder_without_classes_is_refused_by_name(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "Training").mkdir()
    with pytest.raises(UsageError, match=str(tmp_path / "Training")):
        list_images(tmp_path, split="Training", classes=["*"])
