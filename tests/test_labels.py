"""Images and a table of their labels: exactly its rows, and one error that says what is wrong with the table."""

from pathlib import Path

import pytest
from conftest import list_paths, put

from fruits.errors import UsageError
from fruits.images import open_images
from fruits.images.labels import LABELS, read_labels
from fruits_cli.pack import pack_images

TABLE = """path,label,split
b/2.jpg,Kiwi,Test
./1.jpg,"Apple, red",
none.jpg,Kiwi,Test
notes.dat,Kiwi,Training
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "in", "1.jpg", "b/2.jpg", "b/3.jpg", "b/notes.txt", "notes.dat", "Training/Plum/4.jpg")
    return put(tmp_path / "in", LABELS, content=TABLE.encode())


def test_exactly_the_rows_are_listed(folder: Path, tmp_path: Path) -> None:
    table = open_images(folder).list_images(split="all", classes=["*"])
    assert table[["path", "label", "split", "length"]].to_numpy().tolist() == [
        ["1.jpg", "Apple, red", "all", 1],
        ["b/2.jpg", "Kiwi", "Test", 1],
        ["none.jpg", "Kiwi", "Test", 0],
        ["notes.dat", "Kiwi", "Training", 1],
    ]
    assert list_paths(folder, ["K*"], split="Test") == ["b/2.jpg", "none.jpg"]
    assert open_images(folder).list_splits() == ["Test", "Training", "all"]
    ignored = open_images(folder).list_ignored(split="Test", classes=["*"])
    assert ignored[["path", "kind"]].to_numpy().tolist() == [
        ["Training/Plum/4.jpg", "not in labels.csv"],
        ["b/3.jpg", "not in labels.csv"],
        ["b/notes.txt", ".txt"],
    ]
    with pytest.raises(UsageError, match=r"labels\.csv has no split 'Valid'; it has Test, Training, all\. Set split"):
        open_images(folder).check_classes(split="Valid", classes=["*"])
    with pytest.raises(FileNotFoundError):
        open_images(folder).read("none.jpg")
    assert pack_images(folder, tmp_path / "packed").unreadable == ["none.jpg"]
    packed = open_images(tmp_path / "packed").list_images(split="all", classes=["*"])
    assert packed[["path", "label", "split"]].equals(table[["path", "label", "split"]])


@pytest.mark.parametrize(
    "text",
    [
        "path;label\nPêche/1.jpg;Fruit d'été, mûr\n",
        '\ufeffLabel,group, Path\r\n"Fruit d\'été, mûr",7,Pêche/1.jpg\r\n\r\n',
        "\ufefflabel;camera;path\nFruit d'été, mûr;a,b,c;Pe\u0302che//1.jpg",
        "path;label\n.\\Pêche\\1.jpg;Fruit d'été, mûr;\n",
        "path;label\n{folder}/Pêche/1.jpg;Fruit d'été, mûr\n",
    ],
)
def test_a_table_may_have_many_forms(tmp_path: Path, text: str) -> None:
    put(tmp_path, "Pe\u0302che/1.jpg")  # as macOS writes it
    put(tmp_path, LABELS, content=text.replace("{folder}", str(tmp_path)).encode())
    (image,) = open_images(tmp_path).list_images(split="all", classes=["*"]).to_dict("records")
    assert (image["path"], image["label"], image["split"]) == ("Pe\u0302che/1.jpg", "Fruit d'été, mûr", "all")
    assert open_images(tmp_path).list_ignored(split="all", classes=["*"]).empty


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["line 1: the header has no path and no label; it is empty"]),
        ("file,label\na.jpg,A\n", ["line 1: the header has no path; it is file, label"]),
        ("a.jpg,A\nb.jpg,B\n", ["line 1: the header has no path and no label; it is a.jpg, a"]),
        ("path,label\n\n", ["it names no image"]),
        (
            "path,label\n,A\na.jpg\nb.jpg, \n",
            ["line 2: path is empty", "line 3: label is", "line 4: label is"],
        ),
        ("path,label\na.jpg,A\nb.jpg,B\n./a.jpg,B\n", ["line 4: 'a.jpg' is in line 2 too"]),
        (
            "path,label\n../a.jpg,A\n/b.jpg,A\nc/..,A\n",
            ["line 2: '../a.jpg' is no", "line 3: '/b.jpg'", "line 4:"],
        ),
        ("path,label\n" + ",A\n" * 9, ["line 6: path is empty", "and 4 more"]),
        ('path,label\na.jpg,"' + "A" * 200_000, ["line 2: field larger than field limit"]),
        ("path,label\na.jpg,A, red\n", ["line 2: 3 cells, the header has 2; quote a text that holds a comma"]),
        ("path,label,Label\na.jpg,A,B\n", ["line 1: the header has label twice"]),
    ],
    ids=range(11),
)
def test_what_is_wrong_comes_in_one_error(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(UsageError, match=r"labels\.csv cannot be used; its columns are path \(below") as caught:
        read_labels(put(tmp_path, LABELS, content=text.encode()) / LABELS)
    assert all(f"- {problem}" in str(caught.value) for problem in said)


def test_a_table_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels\.csv is no text in UTF-8 .*byte 17"):
        read_labels(put(tmp_path, LABELS, content="path,label\na.jpg,é\n".encode("latin-1")) / LABELS)


def test_labels_beside_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    pack_images(folder, tmp_path / "packed")
    put(tmp_path / "packed", LABELS)
    with pytest.raises(UsageError, match=r"holds packed images \(images-00000\.parquet\) and labels\.csv; keep one"):
        open_images(tmp_path / "packed")
