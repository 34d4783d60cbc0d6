"""Class folders to a table: everything that is an image by name, whatever is in it, and nothing twice."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pandas as pd
import pytest

from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.selection import describe_empty_classes
from fruits.images.tree import ClassFolders, spell_name
from fruits_cli.pack import pack_images


def put(root: Path, *files: str, content: bytes = b"x") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    return root


def paths(root: Path, classes: Sequence[str] = ("*",), split: str = "Training") -> list[str]:
    return open_images(root).list_images(split=split, classes=classes)["path"].tolist()


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
    assert paths(fruit_folder, ["Kiwi"], "Test") == ["Test/Kiwi/0_100.jpg"]


@pytest.mark.parametrize("seconds", [-20_000_000_000, -1, 20_000_000_000])
def test_a_time_of_any_century_is_listed(fruit_folder: Path, seconds: int) -> None:
    """Nanoseconds since 1970 in 64 bits end in 1677 and 2262."""
    file = fruit_folder / "Test/Kiwi/0_100.jpg"
    os.utime(file, (seconds, seconds))
    nearest = max(-(2**63), min(file.stat().st_mtime_ns, 2**63 - 1))
    assert open_images(fruit_folder).list_images(split="Test", classes=["Kiwi"])["modified"].tolist() == [nearest]


def test_names_of_every_kind_are_listed_and_hidden_or_other_files_are_not(tmp_path: Path) -> None:
    odd = [
        "UPPER.JPG",
        "a b.jpeg",
        "c.Png",
        "d'été #1 [2] 50%.jpg",
        "two.dots.JPEG",
        "line\nbreak.png",
        "a.jfif",
        "b.JPE",
    ]
    put(tmp_path / "Training/Pomme d'été", *odd)
    odd.append("no suffix")
    put(tmp_path / "Training/Pomme d'été", odd[-1], content=b"\xff\xd8\xff\xe0")
    others = [".hidden.jpg", "notes.txt", "a.jpg.", "x.jpg.part", "Thumbs.db", "dir.jpg/y.txt", "LICENSE"]
    put(tmp_path / "Training/Pomme d'été", *others)
    put(tmp_path / "Training", ".hidden/1.jpg", "no class.jpg")
    table = open_images(tmp_path).list_images(split="Training", classes=["Pomme d'été"])
    assert table["path"].tolist() == sorted(f"Training/Pomme d'été/{name}" for name in odd)
    assert set(table["label"]) == {"Pomme d'été"}


def test_empty_and_dangling_files_are_listed_with_length_zero(tmp_path: Path) -> None:
    put(tmp_path, "Training/Kiwi/empty.jpg", content=b"")
    (tmp_path / "Training/Kiwi/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "Training/Kiwi/loop.jpg").symlink_to("loop.jpg")
    put(tmp_path, "Training/Kiwi/seen.jpg", content=b"abc")
    table = open_images(tmp_path).list_images(split="Training", classes=["Kiwi"])
    assert [Path(path).stem for path in table["path"]] == ["empty", "gone", "loop", "seen"]
    assert table["length"].tolist() == [0, 0, 0, 3]


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
        open_images(fruit_folder).check_classes(split="Training", classes=["Kiwi", glob])
    assert repr(glob) in str(caught.value)
    assert "'Grape Blue'" in str(caught.value)
    assert str(fruit_folder / "Training") in str(caught.value)


def test_class_without_an_image_is_refused_as_early_as_a_missing_one(fruit_folder: Path) -> None:
    put(fruit_folder, "Training/Plum/notes.txt")
    with pytest.raises(UsageError, match="Plum"):
        open_images(fruit_folder).check_classes(split="Training", classes=["Kiwi", "Plum"])


def test_what_is_not_listed_is_found_in_the_classes_asked_for(fruit_folder: Path) -> None:
    put(fruit_folder / "Training", "Kiwi/.hidden.jpg", "Kiwi/Thumbs.db", "Apple Braeburn/a.txt", "no class.jpg")
    put(fruit_folder / "Training", "Kiwi/.cache/1.jpg", "Kiwi/.cache/2.jpg", "Plum/.DS_Store", "Test/Kiwi/a.txt")
    os.mkfifo(fruit_folder / "Training/Kiwi/pipe.jpg")
    (fruit_folder / "Training/Kiwi/device.jpg").symlink_to("/dev/null")
    (fruit_folder / "Training/Kiwi/gone").symlink_to("nowhere")
    names = [".cache", ".hidden.jpg", "Thumbs.db", "device.jpg", "gone", "pipe.jpg"]
    kiwi = ["Training/no class.jpg", *(f"Training/Kiwi/{name}" for name in names)]
    others = ["Training/Apple Braeburn/a.txt", "Training/Plum/.DS_Store", "Training/Test/Kiwi/a.txt"]
    for classes, found in ((["Ki*", "Test"], [*kiwi, others[2]]), (["*"], [*kiwi, *others])):
        table = open_images(fruit_folder).list_ignored(split="Training", classes=classes)
        assert table["path"].tolist() == sorted(found)
    assert len(paths(fruit_folder)) == 9


def find_kinds(root: Path) -> dict[str, str]:
    table = open_images(root).list_ignored(split="Training", classes=["*"])
    return dict(zip(table["path"].str.removeprefix("Training/"), table["kind"], strict=True))


SYSTEM = ["@eaDir", "@EADIR", "@tmp", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"]
SYSTEM += ["lost+found", "__MACOSX"]


@pytest.mark.parametrize("name", [*SYSTEM, ".Trashes", ".@__thumb", ".AppleDouble"])
def test_folders_of_the_system_are_neither_classes_nor_images(fruit_folder: Path, name: str) -> None:
    before = paths(fruit_folder)
    put(fruit_folder / "Training", f"{name}/1.jpg", f"{name}/Kiwi/2.jpg", f"Kiwi/{name}/0_100.jpg/SYNO_THUMB_M.jpg")
    assert paths(fruit_folder) == before
    assert find_kinds(fruit_folder) == dict.fromkeys((name, f"Kiwi/{name}"), "system" if name in SYSTEM else "hidden")
    with pytest.raises(UsageError, match="matches none of the 3"):
        open_images(fruit_folder).check_classes(split="Training", classes=[name])


@pytest.mark.parametrize("name", ["@home", "#1", "$5", "~", "lost", "Icon", "Thumbs", "recycle", "@eaDir 2", "__A"])
def test_a_class_may_be_called_nearly_so(fruit_folder: Path, name: str) -> None:
    put(fruit_folder, f"Training/{name}/1.jpg")
    assert paths(fruit_folder, [name]) == [f"Training/{name}/1.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("LICENSE", b"MIT License", "no suffix", "no suffix, and its first bytes are not those of an image"),
        ("Makefile", b"BM:\n\tmake", "no suffix", "no suffix, and its first bytes are not those of an image"),
        ("empty", b"", "no suffix", "no suffix, and it is empty"),
        ("IMG", b"\0\0\0\x18ftypheic\0\0", "no suffix", "no suffix, and HEIC, which is not read; convert it to JPEG"),
        ("paper", b"%PDF-1.4", "no suffix", "no suffix, and a PDF document, not an image"),
        ("Icon\r", b"\xff\xd8\xff", "system", "made by an operating system, a file server or an Office program .*"),
        ("~$Kiwi.jpg", b"\xff\xd8\xff", "system", "made by an operating system, .*"),
        ("a.GIF", b"GIF89a", ".gif", "not a suffix of images: .jpg, .jpeg, .jpe, .jfif, .png"),
        ("a.jpg@SynoEAStream", b"x", ".jpg@synoeastream", "not a suffix of images.*"),
        ("1. my own photo", b"\xff\xd8\xff", "other suffix", "not a suffix of images.*"),
        ("._a.jpg", b"x", "hidden", "hidden: the name begins with a dot"),
    ],
)
def test_what_is_ignored_says_why(fruit_folder: Path, name: str, content: bytes, kind: str, reason: str) -> None:
    put(fruit_folder / "Training/Kiwi", name, content=content)
    (row,) = open_images(fruit_folder).list_ignored(split="Training", classes=["Kiwi"]).to_dict("records")
    assert (row["path"], row["kind"]) == (f"Training/Kiwi/{name}", kind)
    assert re.fullmatch(reason, row["reason"])
    assert len(paths(fruit_folder, ["Kiwi"])) == 2


SIGNS = [b"\xff\xd8\xff", b"\x89PNG", b"GIF89a", b"BM\x46\0\0\0\0\0\0\0", b"RIFF1234WEBP", b"II*\0", b"MM\0*", b"II+\0"]


@pytest.mark.parametrize("sign", [*SIGNS, b"\0\0\0 ftypavif", b"\0\0\0 ftypmif1\0\0\0\0mif1avif"], ids=repr)
def test_a_file_without_a_suffix_is_an_image_by_its_first_bytes(fruit_folder: Path, sign: bytes) -> None:
    put(fruit_folder, "Training/Kiwi/IMG_0001", content=sign + bytes(50))
    assert "Training/Kiwi/IMG_0001" in paths(fruit_folder)
    assert find_kinds(fruit_folder) == {}


def test_a_class_of_which_nothing_is_taken_does_not_vanish(fruit_folder: Path) -> None:
    put(fruit_folder / "Training/Plum", *(f"{number}.gif" for number in range(12)), ".hidden")
    put(fruit_folder / "Training/Fig", "LICENSE")
    assert [*find_kinds(fruit_folder).values()].count(".gif") == 12
    assert len(paths(fruit_folder)) == 9
    said = r"class folder 'Plum' holds 13 files, none is an image: 12 \.gif, 1 hidden\. Convert or rename them, or"
    for classes in (["Plum"], ["Kiwi", "Plu*"]):
        with pytest.raises(UsageError, match=f"^classes: {said}"):
            open_images(fruit_folder).check_classes(split="Training", classes=classes)
    with pytest.raises(UsageError, match=r"class folder 'Fig' holds 1 file, none is an image: 1 no suffix\."):
        open_images(fruit_folder).list_images(split="Training", classes=["Fig"])


PEACH = [unicodedata.normalize(form, "Pêche d'été") for form in ("NFC", "NFD")]


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
        assert paths(folder, split="Validation") == ["Validation/Kiwi/1.jpg"]
    with pytest.raises(
        UsageError, match=r"no folder .*/Valid; .* holds Test, Training, Validation, papers\. Set split"
    ):
        open_images(fruit_folder).check_classes(split="Valid", classes=["*"])
    with pytest.raises(UsageError, match=r"holds no Valid images, but Test, Training, Validation; "):
        open_images(tmp_path / "packed").check_classes(split="Valid", classes=["*"])


def test_a_name_that_is_not_utf8_is_spelt_out_and_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, os.fsdecode(b"Training/P\xeache/1.jpg"), os.fsdecode(b"Training/Kiwi/\xff" + b"\xe9" * 200 + b".jpg"))
    table = open_images(tmp_path).list_images(split="Training", classes=["P?udceache", "Kiwi"])
    assert table["path"].tolist() == [
        "Training/Kiwi/\\udcff" + "\\udce9" * 200 + ".jpg",
        "Training/P\\udceache/1.jpg",
    ]
    assert set(table["label"]) == {"Kiwi", "P\\udceache"}
    for path in table["path"]:
        with pytest.raises(OSError, match=r"the name is not UTF-8, or .*; rename"):
            open_images(tmp_path).read(path)


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
            open_images(tmp_path).read(path)
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
    tree = open_images(fruit_folder)
    for look in (tree.list_images, tree.check_classes, tree.list_ignored):
        with pytest.raises(UsageError, match=r"Training/Kiwi cannot be listed \(Permission denied\); make it readable"):
            look(split="Training", classes=["Apple*"])
    with pytest.raises(UsageError, match="Kiwi cannot be listed"):
        tree.list_splits()


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_folder_without_classes_is_refused_by_name(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "Training").mkdir()
    with pytest.raises(UsageError, match=str(tmp_path / "Training")):
        open_images(tmp_path).list_images(split="Training", classes=["*"])


def test_a_class_of_which_nothing_is_taken_is_named(fruit_folder: Path) -> None:
    (fruit_folder / "Training/Webp").mkdir()
    (fruit_folder / "Training/Webp/1.webp").write_bytes(b"x")
    (fruit_folder / "Training/Kiwi/notes.txt").write_bytes(b"x")
    place = {"split": "Training", "classes": ["*"]}
    (note,) = describe_empty_classes(
        open_images(fruit_folder).list_images(**place), open_images(fruit_folder).list_ignored(**place)
    )
    assert note == "1 class folders hold no image: 'Webp'; ignored.csv says why."
    place["classes"] = ["Apple*"]
    assert (
        describe_empty_classes(
            open_images(fruit_folder).list_images(**place), open_images(fruit_folder).list_ignored(**place)
        )
        == []
    )
