"""What the tests of surroundings share: a model, so that no run has to convert one."""

from pathlib import Path

import pytest

from fruits.features.backbone import prepare_backbone


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to be copied to `<output_dir>/models`: untrained weights, seed 42."""
    folder = tmp_path_factory.mktemp("models")
    prepare_backbone("random", None, engine="litert", seed=42, folder=folder)
    return folder
