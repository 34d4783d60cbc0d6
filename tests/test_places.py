"""How places lie towards one another."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits import folders
from fruits.folders import relate


def place(text: str, base: Path) -> Path:
    return folders.resolve(text, base=base)


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
    assert relate(place(left, tmp_path), place(right, tmp_path)) == how
    turned = {"holds": "lies inside", "lies inside": "holds"}
    assert relate(place(right, tmp_path), place(left, tmp_path)) == turned.get(str(how), how)


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
    assert relate(mounted / "twice", mounted / "real") == "is"
    assert relate(mounted / "twice/new/x", mounted / "real/new") == "lies inside"
