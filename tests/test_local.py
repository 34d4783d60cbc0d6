"""Folders on this machine: whole files, whole folders, and locks."""

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_permissions import unprivileged

from fruits import local
from fruits.errors import FruitsError
from fruits.folders import write_bytes
from fruits.local import LocalFolder

HOLD = "import sys, pathlib, fruits.local as s; s.LocalFolder(pathlib.Path(sys.argv[1])).hold(); print('held')"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_file_is_written_whole_into_a_new_folder_and_over_an_old_one(tmp_path: Path) -> None:
    for content in (b"first, longer", b"second"):
        write_bytes(tmp_path / "new/file.txt", content)
        assert (tmp_path / "new/file.txt").read_bytes() == content
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path / "new", b"content")
    assert names(tmp_path) == ["new", "new/file.txt"]


def test_new_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "deep/final"
    with LocalFolder(final).replaced() as draft:
        (draft / "table").touch()
        assert not final.exists()
    assert names(tmp_path) == ["deep", "deep/final", "deep/final/table"]


@pytest.mark.parametrize("linked", [False, True])
def test_old_folder_stays_readable_until_the_new_one_replaces_all_of_it(tmp_path: Path, linked: bool) -> None:
    final = tmp_path / "final"
    write_bytes(tmp_path / ("disk" if linked else "final") / "old", b"")
    if linked:
        final.symlink_to(tmp_path / "disk")
    with LocalFolder(final).replaced() as draft:
        (draft / "new").touch()
        assert names(final) == ["old"]
    assert names(final) == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == ({"disk", "final"} if linked else {"final"})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, None])
def test_error_leaves_the_old_folder_and_no_draft(tmp_path: Path, error: type[BaseException] | None) -> None:
    write_bytes(tmp_path / "final/old", b"")
    with pytest.raises(error or OSError), LocalFolder(tmp_path / "final").replaced() as draft:  # noqa: PT012
        (draft / "new").touch()
        if error:
            raise error
        (draft / "new").unlink()
        draft.rmdir()  # the draft cannot be put in place
    assert names(tmp_path) == ["final", "final/old"]


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_folder_that_cannot_be_made_is_named(tmp_path: Path, folder: str) -> None:
    LocalFolder(tmp_path / "a/b").check_writable()
    assert names(tmp_path) == ["a", "a/b"]  # a writable folder is made and left empty
    (tmp_path / "file").touch()
    with pytest.raises(FruitsError, match=f"{tmp_path / folder} cannot be written"):
        LocalFolder(tmp_path / folder).check_writable()
    with pytest.raises(FruitsError, match=rf"{folder}/\.in-use cannot be opened \((File exists|Not a directory)\)"):
        LocalFolder(tmp_path / folder).hold()


@pytest.mark.parametrize("atomic", [True, False])
def test_two_processes_replace_a_folder_again_and_again(
    tmp_path: Path, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not atomic:
        monkeypatch.setattr(local, "exchange", lambda *_: False)

    def replace(number: int) -> None:
        with LocalFolder(tmp_path / "final").replaced() as draft:
            for part in "ab":
                (draft / part).write_text(str(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(replace, range(100)))
    assert names(tmp_path) == ["final", "final/a", "final/b"]
    assert len({(tmp_path / "final" / part).read_text() for part in "ab"}) == 1


def test_an_old_folder_that_cannot_be_removed_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draft/new", "final/table", "old/stubborn"):
        write_bytes(tmp_path / name, b"")
    monkeypatch.setattr(local, "exchange", lambda *_: False)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(OSError, match="not empty"):
        local.put_in_place(*(tmp_path / name for name in ("draft", "final", "old")))
    assert names(tmp_path / "final") == ["table"]


def test_a_folder_is_never_missing_while_it_is_replaced(tmp_path: Path) -> None:
    final = tmp_path / "final"
    write_bytes(final / "table", b"")
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
        with LocalFolder(final).replaced() as draft:
            (draft / "table").touch()
    stop.set()
    watcher.join()
    assert not any(missing)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder in which everybody may write, sticky as /tmp is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def test_many_hold_a_folder_and_none_is_alone_then(tmp_path: Path) -> None:
    for _ in range(3):
        with LocalFolder(tmp_path).held_alone(), pytest.raises(FruitsError), LocalFolder(tmp_path).held_alone():
            pass
    for _ in range(2):
        LocalFolder(tmp_path / "new").hold()
        LocalFolder(tmp_path).hold()
    done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "held\n"
    with pytest.raises(FruitsError, match="a run is at work in"), LocalFolder(tmp_path).held_alone():
        pass


@pytest.mark.parametrize("mode", [0o644, 0])
def test_a_second_user_holds_the_folder_if_the_lock_of_the_first_is_readable(shared_folder: Path, mode: int) -> None:
    (shared_folder / ".in-use").touch()
    (shared_folder / ".in-use").chmod(mode)
    command = [*unprivileged(), sys.executable, "-c", HOLD, str(shared_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=shared_folder)
    if mode:
        assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr
    else:
        why = "cannot be opened (Permission denied); make it readable, or choose another folder.\n"
        assert done.stderr.endswith(f"FruitsError: {shared_folder}/.in-use {why}")
