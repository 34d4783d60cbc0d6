"""Locations: made absolute, compared, and named to Spark."""

import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits import folders
from fruits.errors import UsageError
from fruits.local import LocalFolder
from fruits.s3 import S3Folder


@pytest.mark.parametrize(
    ("location", "expected"),
    [("data", "/base/data"), ("../data/./x", "/data/x"), ("/abs/é a", "/abs/é a"), ("~/x", "/home/me/x")],
)
def test_location_is_made_absolute_and_links_keep_their_names(
    location: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert folders.resolve(location, base=Path("/base")) == Path(expected)
    (tmp_path / "link").symlink_to(tmp_path)
    assert folders.resolve("link/x", base=tmp_path) == tmp_path / "link/x"


@pytest.mark.parametrize(
    ("location", "expected"),
    [("s3://bucket/data/", "s3://bucket/data"), ("S3A://bucket/é a", "s3://bucket/é a"), ("s3n://b/c", "s3://b/c")],
)
def test_location_in_s3_has_one_spelling_and_the_methods_of_a_path(location: str, expected: str) -> None:
    folder = folders.resolve(location, base=Path("/base"))
    assert isinstance(folders.as_folder(folder), S3Folder)
    assert str(folder) == expected
    assert str(folder / "x" / "y") == f"{expected}/x/y"
    assert (folder / "x").name == "x"
    assert str(pickle.loads(pickle.dumps(folder))) == expected  # noqa: S301 - ours


@pytest.mark.parametrize("location", ["s3://", "hdfs:///data", "gs://bucket/data", "~no-such-user/data"])
def test_location_that_no_local_folder_can_have_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match=location):
        folders.resolve(location, base=Path("/base"))


@pytest.mark.parametrize("location", ["data/s3", "s3", "/data/s3://x"])
def test_local_folder_is_not_remote(location: str) -> None:
    assert isinstance(folders.as_folder(folders.resolve(location, base=Path("/base"))), LocalFolder)


@pytest.mark.parametrize(("home", "usable"), [(".", True), ("/nowhere", False), ("/proc", False), (None, False)])
def test_a_home_is_one_that_can_be_written_to(home: str | None, usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(Path(home).absolute()) if home else None
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)
    monkeypatch.delenv("HOME")
    if place:
        monkeypatch.setenv("HOME", place)
    monkeypatch.setattr("os.access", lambda path, _: str(path) == str(Path.cwd()))
    assert folders.find_home() == (Path.cwd() if usable else None)


@pytest.mark.parametrize(
    ("left", "right", "how"),
    [
        ("a", "a", "is"),
        ("a/../a/.", "a", "is"),
        ("a/b", "a", "lies inside"),
        ("a", "a/b/c", "holds"),
        ("a", "ab", None),
        ("a/b", "a/c", None),
        ("link/new", "real/new", "is"),
        ("link/new/x", "real", "lies inside"),
        ("dangling", "nowhere/x", "is"),
        ("loop", "real", None),
        ("/", "a", "holds"),
        ("s3://b/a", "S3N://b/a/", "is"),
        ("s3://b/a/./x/..", "s3://b/a", "is"),
        ("s3://b", "s3://b/a", "holds"),
        ("s3://b/a/c", "s3://b/a", "lies inside"),
        ("s3://b/a", "s3://b/ab", None),
        ("s3://b/a", "s3://c/a", None),
        ("s3://b/A", "s3://b/a", None),
        ("s3://b/a", "/b/a", None),
    ],
)
def test_places_are_compared_where_they_lie(tmp_path: Path, left: str, right: str, how: str | None) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere/x")
    (tmp_path / "loop").symlink_to("loop")
    assert folders.relate(folders.resolve(left, base=tmp_path), folders.resolve(right, base=tmp_path)) == how
    turned = {"holds": "lies inside", "lies inside": "holds"}
    assert folders.relate(folders.resolve(right, base=tmp_path), folders.resolve(left, base=tmp_path)) == turned.get(
        str(how), how
    )


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "real").mkdir()
    (tmp_path / "twice").mkdir()
    done = subprocess.run(["mount", "--bind", tmp_path / "real", tmp_path / "twice"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path / "twice"], check=True)


def test_a_disk_that_is_mounted_twice_is_one_place(mounted: Path) -> None:
    assert os.path.realpath(mounted / "twice") != os.path.realpath(mounted / "real")
    assert folders.relate(mounted / "twice", mounted / "real") == "is"
    assert folders.relate(mounted / "twice/new/x", mounted / "real/new") == "lies inside"


def test_a_folder_that_could_not_be_named_or_listed_is_refused() -> None:
    for name in ("/run 12:30 [é] *", "s3://bucket/run 12:30 {é}"):
        folders.check_spelling(folders.resolve(name, base=None), key="output_dir")
    with pytest.raises(UsageError, match=r"output_dir = s3://bucket/a\[1\]/b\*: .* hold none of .*, not \* \["):
        folders.check_spelling(folders.resolve("s3://bucket/a[1]/b*", base=None), key="output_dir")
    with pytest.raises(UsageError, match=r"output_dir = .*udce9.* LC_ALL=C.UTF-8"):
        folders.check_spelling(Path("/x\udce9"), key="output_dir")
