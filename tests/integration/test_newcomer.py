"""A fresh clone, in a folder whose name tools stumble over: the environment is built and the commands play."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).resolve().parents[2]


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_fresh_clone_builds_and_rehearses(tmp_path: Path) -> None:
    if not (REPOSITORY / ".s3/.ready").is_file():
        pytest.skip("Spark on this machine cannot reach S3: `make s3` fetches what it needs")
    clone = tmp_path / "repo #1, it's mine"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    shutil.copytree(REPOSITORY / ".s3", clone / ".s3", copy_function=os.symlink)
    (clone / ".s3/.ready").touch()

    done = make(clone, "rehearse-aws")

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Nothing is left." in done.stdout
    status = ["git", "-C", str(clone), "status", "--porcelain"]
    assert subprocess.run(status, check=True, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("name", ["a:b", "cost $5", 'a "name"', "{mode}", "back`tick"])
def test_a_folder_in_which_programs_would_not_start_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / "scripts").mkdir(parents=True)
    for file in ("Makefile", "requirements.lock", "pyproject.toml", "scripts/make_env.sh"):
        shutil.copy(REPOSITORY / file, folder / file)
    done = make(folder, "env")
    assert done.returncode == 2
    assert "The name of this folder must hold none of" in done.stderr
    assert not (folder / ".venv").exists()
