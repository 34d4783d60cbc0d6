"""What a walk finds: everything that is an image by name or first bytes, whatever is in it, and nothing twice."""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from conftest import list_paths, put

from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.formats import IMAGE_SUFFIXES
from fruits.images.walk import spell_name


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
        *(f"a{suffix}" for suffix in IMAGE_SUFFIXES),
        *(f"B{suffix.upper()}" for suffix in IMAGE_SUFFIXES),
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


def test_folder_that_links_back_to_its_parents_ends(fruit_folder: Path) -> None:
    before = list_paths(fruit_folder)
    (fruit_folder / "Training/Kiwi/loop").symlink_to("..", target_is_directory=True)
    (fruit_folder / "Training/Kiwi/self").symlink_to("self", target_is_directory=True)
    assert list_paths(fruit_folder) == before


@pytest.mark.parametrize("alias", ["AAA", "Kiwj", "zzz"])
def test_linked_class_does_not_take_the_place_of_the_real_one(fruit_folder: Path, alias: str) -> None:
    before = list_paths(fruit_folder)
    (fruit_folder / "Training" / alias).symlink_to("Kiwi", target_is_directory=True)
    assert list_paths(fruit_folder) == before


def test_class_that_lies_elsewhere_is_followed(fruit_folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "disk/1.jpg")
    (fruit_folder / "Training/Plum").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert list_paths(fruit_folder, ["Plum"]) == ["Training/Plum/1.jpg"]


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
    assert len(list_paths(fruit_folder)) == 9


def find_kinds(root: Path) -> dict[str, str]:
    table = open_images(root).list_ignored(split="Training", classes=["*"])
    return dict(zip(table["path"].str.removeprefix("Training/"), table["kind"], strict=True))


SYSTEM = ["@eaDir", "@EADIR", "@tmp", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"]
SYSTEM += ["lost+found", "__MACOSX"]


@pytest.mark.parametrize("name", [*SYSTEM, ".Trashes", ".@__thumb", ".AppleDouble"])
def test_folders_of_the_system_are_neither_classes_nor_images(fruit_folder: Path, name: str) -> None:
    before = list_paths(fruit_folder)
    put(fruit_folder / "Training", f"{name}/1.jpg", f"{name}/Kiwi/2.jpg", f"Kiwi/{name}/0_100.jpg/SYNO_THUMB_M.jpg")
    assert list_paths(fruit_folder) == before
    assert find_kinds(fruit_folder) == dict.fromkeys((name, f"Kiwi/{name}"), "system" if name in SYSTEM else "hidden")
    with pytest.raises(UsageError, match="matches none of the 3"):
        open_images(fruit_folder).check_classes(split="Training", classes=[name])


@pytest.mark.parametrize("name", ["@home", "#1", "$5", "~", "lost", "Icon", "Thumbs", "recycle", "@eaDir 2", "__A"])
def test_a_class_may_be_called_nearly_so(fruit_folder: Path, name: str) -> None:
    put(fruit_folder, f"Training/{name}/1.jpg")
    assert list_paths(fruit_folder, [name]) == [f"Training/{name}/1.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("LICENSE", b"MIT License", "no suffix", "no suffix, and its first bytes are not those of an image"),
        ("Makefile", b"BM:\n\tmake", "no suffix", "no suffix, and its first bytes are not those of an image"),
        ("empty", b"", "no suffix", "no suffix, and it is empty"),
        ("IMG", b"\xff\x0a\xfa\x1f", "no suffix", "no suffix, and JPEG XL, which is not read; convert it to JPEG"),
        ("paper", b"%PDF-1.4", "no suffix", "no suffix, and a PDF document, not an image"),
        ("Icon\r", b"\xff\xd8\xff", "system", "made by an operating system, a file server or an Office program .*"),
        ("~$Kiwi.jpg", b"\xff\xd8\xff", "system", "made by an operating system, .*"),
        ("a.PSD", b"8BPS", ".psd", "not a suffix of images: .jpg, .jpeg, .*, .heif, .*"),
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
    assert len(list_paths(fruit_folder, ["Kiwi"])) == 2


BRANDS = [b"avif", b"mif1\0\0\0\0mif1avif", b"heic", b"heix", b"hevc", b"mif1", b"msf1\0\0\0\0mif1"]
SIGNS = [b"\xff\xd8\xff", b"\x89PNG", b"GIF89a", b"BM\x46\0\0\0\0\0\0\0", b"RIFF1234WEBP", b"II*\0", b"MM\0*", b"II+\0"]


@pytest.mark.parametrize("sign", [*SIGNS, *(b"\0\0\0 ftyp" + brand for brand in BRANDS)], ids=repr)
def test_a_file_without_a_suffix_is_an_image_by_its_first_bytes(fruit_folder: Path, sign: bytes) -> None:
    put(fruit_folder, "Training/Kiwi/IMG_0001", content=sign + bytes(50))
    assert "Training/Kiwi/IMG_0001" in list_paths(fruit_folder)
    assert find_kinds(fruit_folder) == {}


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
    found = list_paths(tmp_path)
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
