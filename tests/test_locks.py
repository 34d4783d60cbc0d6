"""Locks: shared among those who work, refused in a sentence."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_permissions import unprivileged

from fruits.errors import FruitsError
from fruits.local import LocalFolder

HOLD = "import sys, pathlib, fruits.local as s; s.LocalFolder(pathlib.Path(sys.argv[1])).hold(); print('held')"


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder in which everybody may write, sticky as /tmp is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def test_many_hold_a_folder_and_none_is_alone_then(tmp_path: Path) -> None:
    for _ in range(2):
        LocalFolder(tmp_path / "new").hold()
        LocalFolder(tmp_path).hold()
    done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "held\n"
    with pytest.raises(FruitsError, match="a run is at work in"), LocalFolder(tmp_path).held_alone():
        pass


def test_a_folder_can_be_had_alone_again_and_again(tmp_path: Path) -> None:
    for _ in range(3):
        with LocalFolder(tmp_path).held_alone(), pytest.raises(FruitsError), LocalFolder(tmp_path).held_alone():
            pass


def test_a_second_user_holds_the_folder_that_the_first_began(shared_folder: Path) -> None:
    (shared_folder / ".in-use").touch(0o644)
    command = [*unprivileged(), sys.executable, "-c", HOLD, str(shared_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=shared_folder)
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr


def test_a_lock_that_may_not_be_opened_is_told_in_a_sentence(shared_folder: Path) -> None:
    (shared_folder / ".in-use").touch()
    (shared_folder / ".in-use").chmod(0)
    code = (
        "import sys, pathlib, fruits.local as s, fruits.errors as e\n"
        "try: s.LocalFolder(pathlib.Path(sys.argv[1])).hold()\nexcept e.FruitsError as error: print(error)"
    )
    command = [*unprivileged(), sys.executable, "-c", code, str(shared_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=shared_folder)
    assert done.stdout == (
        f"{shared_folder}/.in-use cannot be opened (Permission denied); make it readable, or choose another folder.\n"
    )


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FruitsError, match=r"file/\.in-use cannot be opened \(File exists\)"):
        LocalFolder(tmp_path / "file").hold()
