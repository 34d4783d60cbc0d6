"""The cluster of the tests of JupyterHub: made once, in 70 seconds, the node's environment included."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import WEIGHTS
from emr_cluster import Cluster, start_cluster


@pytest.fixture(scope="session")
def reference(shared: Path) -> pd.DataFrame:
    """Give what an independent run on EMR computed: path, label, features."""
    return pd.read_parquet(shared / "reference" / "apples_features_sample.parquet")


@pytest.fixture(scope="session")
def cluster(
    shared: Path,
    trained_models: Path,
    reference: pd.DataFrame,
    node_venv: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    folder, home = tmp_path_factory.mktemp("cluster"), tmp_path_factory.mktemp("home")
    for path in reference["path"]:
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "fruits-360" / path, folder / "images" / path)
    weights = shared / WEIGHTS
    shutil.copytree(trained_models, home / "data" / "models")
    with start_cluster(
        folder, images=folder / "images", weights=weights, home=home, python=node_venv / "bin" / "python"
    ) as made:
        yield made
