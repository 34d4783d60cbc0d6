"""The environment of a node, made for real, once for all who look at it (50 seconds)."""

from pathlib import Path

import pytest
from cloud import EMR, clean_environ, python311, shell


@pytest.fixture
def clean() -> dict[str, str]:
    return clean_environ()


@pytest.fixture(scope="session")
def node_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run emr/bootstrap.sh as a node does, and give the venv it made."""
    folder = tmp_path_factory.mktemp("node")
    venv = folder / "opt" / "venv"
    env = clean_environ() | {"FRUITS_PYTHON": python311()}
    done = shell(str(EMR / "bootstrap.sh"), str(venv), str(EMR / "requirements-worker.txt"), env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout
    return venv
