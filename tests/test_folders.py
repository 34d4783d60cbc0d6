"""Places: local from remote, whole files, whole folders."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fruits import folders, local
from fruits.errors import FruitsError, UsageError
from fruits.local import LocalFolder
from fruits.s3 import S3Folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("location", "expected"),
    [("data", "/base/data"), ("../data/./x", "/data/x"), ("/abs/é a", "/abs/é a"), ("~/x", "/home/me/x")],
)
def test_location_is_made_absolute(location: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert folders.resolve(location, base=Path("/base")) == Path(expected)


def test_linked_folder_keeps_its_name(tmp_path: Path) -> None:
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


def test_location_in_s3_without_a_bucket_is_refused() -> None:
    with pytest.raises(UsageError, match="s3:// names no bucket"):
        folders.resolve("s3://", base=Path("/base"))


@pytest.mark.parametrize("location", ["hdfs:///data", "gs://bucket/data", "~no-such-user/data"])
def test_location_that_no_local_folder_can_have_is_refused(location: str) -> None:
    with pytest.raises(UsageError, match=location):
        folders.resolve(location, base=Path("/base"))


@pytest.mark.parametrize("location", ["data/s3", "s3", "/data/s3://x"])
def test_local_folder_is_not_remote(location: str) -> None:
    assert isinstance(folders.as_folder(folders.resolve(location, base=Path("/base"))), LocalFolder)


def test_file_is_written_whole_into_a_new_folder_and_over_an_old_one(tmp_path: Path) -> None:
    for content in (b"first, longer", b"second"):
        folders.write_bytes(tmp_path / "new/file.txt", content)
        assert (tmp_path / "new/file.txt").read_bytes() == content
    assert names(tmp_path) == ["new", "new/file.txt"]


def test_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        folders.write_bytes(tmp_path / "taken", b"content")
    assert names(tmp_path) == ["taken"]


def test_new_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "deep/final"
    with folders.as_folder(final).replaced() as draft:
        (draft / "table").touch()
        assert not final.exists()
    assert names(tmp_path) == ["deep", "deep/final", "deep/final/table"]


def test_old_folder_stays_readable_until_the_new_one_replaces_all_of_it(tmp_path: Path) -> None:
    final = tmp_path / "final"
    folders.write_bytes(final / "old", b"")
    with folders.as_folder(final).replaced() as draft:
        (draft / "new").touch()
        assert names(final) == ["old"]
    assert names(tmp_path) == ["final", "final/new"]


def test_linked_folder_is_replaced_without_leftovers(tmp_path: Path) -> None:
    folders.write_bytes(tmp_path / "disk/old", b"")
    (tmp_path / "final").symlink_to(tmp_path / "disk")
    with folders.as_folder(tmp_path / "final").replaced() as draft:
        (draft / "new").touch()
    assert names(tmp_path / "final") == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "final"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_old_folder_and_no_draft(tmp_path: Path, error: type[BaseException]) -> None:
    folders.write_bytes(tmp_path / "final/old", b"")
    with pytest.raises(error), folders.as_folder(tmp_path / "final").replaced() as draft:  # noqa: PT012
        (draft / "new").touch()
        raise error
    assert names(tmp_path) == ["final", "final/old"]


def test_old_folder_survives_when_the_new_one_cannot_be_put_in_place(tmp_path: Path) -> None:
    folders.write_bytes(tmp_path / "final/old", b"")
    with pytest.raises(OSError), folders.as_folder(tmp_path / "final").replaced() as draft:  # noqa: PT011 - any will do
        draft.rmdir()
    assert names(tmp_path) == ["final", "final/old"]


def test_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folders.as_folder(tmp_path / "a/b").check_writable()
    assert names(tmp_path) == ["a", "a/b"]


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_folder_that_cannot_be_made_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FruitsError, match=f"{tmp_path / folder} cannot be written"):
        folders.as_folder(tmp_path / folder).check_writable()


@pytest.mark.parametrize("atomic", [True, False])
def test_two_at_once_replace_a_folder_again_and_again(
    tmp_path: Path, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not atomic:
        monkeypatch.setattr(local, "exchange", lambda *_: False)

    def replace(number: int) -> None:
        with folders.as_folder(tmp_path / "final").replaced() as draft:
            for part in "ab":
                (draft / part).write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(replace, range(100)))
    assert names(tmp_path) == ["final", "final/a", "final/b"]
    assert len({(tmp_path / "final" / part).read_text() for part in "ab"}) == 1


def test_an_old_folder_that_cannot_be_removed_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draft/new", "final/table", "old/stubborn"):
        folders.write_bytes(tmp_path / name, b"")
    monkeypatch.setattr(local, "exchange", lambda *_: False)
    monkeypatch.setattr(local.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(OSError, match="not empty"):
        local.put_in_place(*(tmp_path / name for name in ("draft", "final", "old")))
    assert names(tmp_path / "final") == ["table"]


def test_a_folder_is_never_missing_while_it_is_replaced(tmp_path: Path) -> None:
    final = tmp_path / "final"
    folders.write_bytes(final / "table", b"")
    if not local.exchange(final, final):
        pytest.skip("this file system cannot exchange two names")
    missing = []

    def look(stop: threading.Event) -> None:
        while not stop.is_set():
            missing.append(not final.exists())

    stop = threading.Event()
    watcher = threading.Thread(target=look, args=(stop,))
    watcher.start()
    for _ in range(200):
        with folders.as_folder(final).replaced() as draft:
            (draft / "table").touch()
    stop.set()
    watcher.join()
    assert not any(missing)


@pytest.mark.parametrize(("home", "usable"), [(".", True), ("/nowhere", False), ("/proc", False), (None, False)])
def test_a_home_is_one_that_can_be_written_to(home: str | None, usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(Path(home).absolute()) if home else None
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)
    monkeypatch.delenv("HOME")
    if place:
        monkeypatch.setenv("HOME", place)
    monkeypatch.setattr("os.access", lambda path, _: str(path) == str(Path.cwd()))
    assert folders.find_home() == (Path.cwd() if usable else None)
