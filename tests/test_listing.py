"""Folders to a table of images: in split and class folders, or all that lie below."""

import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import list_paths, put

from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.selection import describe_empty_classes
from fruits.images.tree import ClassFolders
from fruits_cli.pack import pack_images


def test_table_has_a_row_for_every_image(fruit_folder: Path) -> None:
    table = open_images(fruit_folder).list_images(split="Training", classes=["Apple*"])
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
    assert list_paths(fruit_folder, ["Kiwi"], "Test") == ["Test/Kiwi/0_100.jpg"]


def test_label_is_the_parent_folder_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path, "Training/Citrus/Lemon/1.jpg", "Training/Citrus/2.jpg")
    table = open_images(tmp_path).list_images(split="Training", classes=["Lemon"])
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
    table = open_images(fruit_folder).list_images(split="Training", classes=classes)
    assert set(table["label"]) == labels
    assert table["path"].is_unique


@pytest.mark.parametrize("glob", ["grape*", "Grape Bleu", "GRAPE BLUE", "Grape  *"])
def test_glob_that_matches_nothing_names_near_classes(fruit_folder: Path, glob: str) -> None:
    put(fruit_folder, "Training/Grape Blue/1.jpg", "Training/Apricot/1.jpg", "Training/Avocado/1.jpg")
    with pytest.raises(UsageError) as caught:
        open_images(fruit_folder).check_classes(split="Training", classes=["Kiwi", glob])
    assert repr(glob) in str(caught.value)
    assert "'Grape Blue'" in str(caught.value)
    assert str(fruit_folder / "Training") in str(caught.value)


def test_class_without_an_image_is_refused_as_early_as_a_missing_one(fruit_folder: Path) -> None:
    put(fruit_folder, "Training/Plum/notes.txt")
    with pytest.raises(UsageError, match="Plum"):
        open_images(fruit_folder).check_classes(split="Training", classes=["Kiwi", "Plum"])


def test_a_class_of_which_nothing_is_taken_does_not_vanish(fruit_folder: Path) -> None:
    put(fruit_folder / "Training/Plum", *(f"{number}.psd" for number in range(12)), ".hidden")
    put(fruit_folder / "Training/Fig", "LICENSE")
    assert len(list_paths(fruit_folder)) == 9
    said = r"class folder 'Plum' holds 13 files, none is an image: 12 \.psd, 1 hidden\. Convert or rename them, or"
    for classes in (["Plum"], ["Kiwi", "Plu*"]):
        with pytest.raises(UsageError, match=f"^classes: {said}"):
            open_images(fruit_folder).check_classes(split="Training", classes=classes)
    with pytest.raises(UsageError, match=r"class folder 'Fig' holds 1 file, none is an image: 1 no suffix\."):
        open_images(fruit_folder).list_images(split="Training", classes=["Fig"])


PEACH = [unicodedata.normalize("NFC", "Pêche d'été"), unicodedata.normalize("NFD", "Pêche d'été")]


@pytest.mark.parametrize("asked", [*PEACH, "P?che*", "*été", PEACH[0][:3] + "*", PEACH[1][:3] + "*"])
@pytest.mark.parametrize("name", PEACH, ids=["NFC", "NFD"])
@pytest.mark.parametrize("split", PEACH, ids=["NFC", "NFD"])
def test_accents_are_compared_in_one_form(tmp_path: Path, asked: str, name: str, split: str) -> None:
    put(tmp_path / "loose", f"{PEACH[0]}/{name}/1.jpg", f"{PEACH[0]}/{name}/note.txt", f"{PEACH[0]}/Kiwi/1.jpg")
    pack_images(tmp_path / "loose", tmp_path / "packed")
    for folder in (tmp_path / "loose", tmp_path / "packed"):
        (image,) = open_images(folder).list_images(split=split, classes=[asked]).to_dict("records")
        assert (image["path"], image["label"], image["split"]) == (f"{PEACH[0]}/{name}/1.jpg", name, PEACH[0])
    assert open_images(tmp_path / "loose").list_ignored(split=split, classes=[asked])["kind"].tolist() == [".txt"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["Pear [ripe]"], {"Pear [ripe]"}),
        (["Pear [rx]"], {"Pear r"}),
        (["Pear*"], {"Pear*"}),
        (["Pear?*"], {"Pear r", "Pear [ripe]", "Pear*"}),
        (["*"], {"Pear r", "Pear [ripe]", "Pear*", "*", "a?"}),
        (["a?", "Pear r"], {"a?", "Pear r"}),
    ],
)
def test_a_class_that_is_called_like_the_glob_is_meant(tmp_path: Path, asked: list[str], found: set[str]) -> None:
    put(tmp_path / "loose", *(f"Training/{name}/1.jpg" for name in ("Pear r", "Pear [ripe]", "Pear*", "*", "a?")))
    pack_images(tmp_path / "loose", tmp_path / "packed")
    for folder in (tmp_path / "loose", tmp_path / "packed"):
        assert set(open_images(folder).list_images(split="Training", classes=asked)["label"]) == found


def test_any_folder_is_a_split(fruit_folder: Path, tmp_path: Path) -> None:
    put(fruit_folder, "Validation/Kiwi/1.jpg", "@eaDir/Kiwi/1.jpg", "papers/notes.txt")
    assert ClassFolders(fruit_folder).list_splits() == ["Test", "Training", "Validation"]
    pack_images(fruit_folder, tmp_path / "packed")
    for folder in (fruit_folder, tmp_path / "packed"):
        assert list_paths(folder, split="Validation") == ["Validation/Kiwi/1.jpg"]
    with pytest.raises(
        UsageError, match=r"no folder .*/Valid; .* holds Test, Training, Validation, papers\. Set split"
    ):
        open_images(fruit_folder).check_classes(split="Valid", classes=["*"])
    with pytest.raises(UsageError, match=r"holds no Valid images, but Test, Training, Validation; "):
        open_images(tmp_path / "packed").check_classes(split="Valid", classes=["*"])


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_folder_without_classes_is_refused_by_name(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "Training").mkdir()
    with pytest.raises(UsageError, match=str(tmp_path / "Training")):
        open_images(tmp_path).list_images(split="Training", classes=["*"])


def test_a_class_of_which_nothing_is_taken_is_named(fruit_folder: Path) -> None:
    (fruit_folder / "Training/Layers").mkdir()
    (fruit_folder / "Training/Layers/1.psd").write_bytes(b"x")
    (fruit_folder / "Training/Kiwi/notes.txt").write_bytes(b"x")
    place: dict[str, Any] = {"split": "Training", "classes": ["*"]}
    (note,) = describe_empty_classes(
        open_images(fruit_folder).list_images(**place), open_images(fruit_folder).list_ignored(**place)
    )
    assert note == "1 class folders hold no image: 'Layers'; ignored.csv says why."
    place["classes"] = ["Apple*"]
    assert (
        describe_empty_classes(
            open_images(fruit_folder).list_images(**place), open_images(fruit_folder).list_ignored(**place)
        )
        == []
    )


def list_all(root: Path, *classes: str) -> dict[str, tuple[str, str]]:
    table = open_images(root).list_images(split="all", classes=classes or ["*"])
    return {path: (label, split) for path, label, split in table[["path", "label", "split"]].to_numpy()}


def test_every_image_has_its_folder_as_label(tmp_path: Path) -> None:
    put(tmp_path / "Photos", "1.jpg", "Citrus/2.WebP", "Citrus/Orange/3.heic", "training/Kiwi/4.gif", "TEST/5.bmp")
    put(tmp_path / "Photos", "Training/a/b/6.jpg", "Citrus/Test/7.jpg", ".hidden/8.jpg", "notes.txt", "Fig/notes.md")
    assert list_all(tmp_path / "Photos") == {
        "1.jpg": ("Photos", "all"),
        "Citrus/2.WebP": ("Citrus", "all"),
        "Citrus/Orange/3.heic": ("Citrus/Orange", "all"),
        "Citrus/Test/7.jpg": ("Citrus/Test", "all"),
        "TEST/5.bmp": ("TEST", "TEST"),
        "Training/a/b/6.jpg": ("a/b", "Training"),
        "training/Kiwi/4.gif": ("Kiwi", "training"),
    }
    assert set(list_all(tmp_path / "Photos", "Citrus*", "K*")) == {
        *("Citrus/2.WebP", "Citrus/Orange/3.heic", "Citrus/Test/7.jpg", "training/Kiwi/4.gif")
    }
    ignored = open_images(tmp_path / "Photos").list_ignored(split="all", classes=["*"])
    kinds = dict(zip(ignored["path"], ignored["kind"], strict=True))
    assert kinds == {".hidden": "hidden", "Fig/notes.md": ".md", "notes.txt": ".txt"}
    images = open_images(tmp_path / "Photos").list_images(split="all", classes=["*"])
    assert describe_empty_classes(images, ignored) == ["1 class folders hold no image: 'Fig'; ignored.csv says why."]


def test_every_image_of_named_splits_is_the_same_as_by_their_names(fruit_folder: Path, tmp_path: Path) -> None:
    pack_images(fruit_folder, tmp_path / "packed")
    pack_images(fruit_folder / "Training/Kiwi", tmp_path / "flat")
    for folder in (fruit_folder, tmp_path / "packed"):
        source = open_images(folder)
        named = [source.list_images(split=split, classes=["*"]) for split in source.list_splits()]
        pd.testing.assert_frame_equal(
            source.list_images(split="all", classes=["*"]), pd.concat(named).sort_values("path", ignore_index=True)
        )
    assert list_all(tmp_path / "flat") == list_all(fruit_folder / "Training/Kiwi")


@pytest.mark.parametrize("split", ["all", "Training"])
def test_a_folder_in_which_nothing_is_taken_says_what_lies_there(tmp_path: Path, split: str) -> None:
    put(tmp_path, "Training/a.psd", "Training/.b.jpg", "Training/Kiwi/c.psd")
    with pytest.raises(UsageError, match=r"holds no images, but 2 \.psd, 1 hidden \(such as 'Training/\.b\.jpg', "):
        open_images(tmp_path).check_classes(split=split, classes=["*"])
    put(tmp_path, "Training/1.jpg")
    assert list_all(tmp_path) == {"Training/1.jpg": ("Training", "Training")}
    with pytest.raises(UsageError, match=r"holds no images, but 2 \.psd, 1 hidden, 1 no class .*\. Taken are"):
        open_images(tmp_path).list_images(split="Training", classes=["Kiwi"])
