"""The manifest: names that other tools rely on."""

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

import fruits
from fruits.features.model import Backbone
from fruits.manifest import STAGES, Stopwatch, build_manifest, read_author, read_commit, read_versions, summarise
from fruits.moments import Moments
from fruits.params import load_params
from fruits.pca import decompose


@pytest.fixture
def manifest(spark: SparkSession) -> dict[str, object]:
    watch = Stopwatch()
    watch.seconds["extraction"] = 2.0
    backbone = Backbone(
        weights="random", sha256="ab", engine="litert", tensors=260, parameters=1, bytes=4, folder=Path("/models/x")
    )
    return build_manifest(
        load_params("MINI", "sample"),
        spark=spark,
        stopwatch=watch,
        backbone=backbone,
        pca=decompose(Moments.of(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [4.0, 2.0]])), k=1),
        counts={"listed": 5, "features": 4, "errors": 1, "reused": 1, "computed": 3},
        ignored_kinds={".txt": 2},
        notes=["a sentence"],
    )


def test_keys_that_others_rely_on(manifest: dict[str, Any]) -> None:
    keys = {"mode", "target", "model_flatbuffer", "params", "git_commit", "versions", "started", "seconds"}
    assert manifest.keys() >= keys | {"author", "counts", "images_per_second", "model", "pca"}
    assert tuple(manifest["seconds"]) == STAGES
    assert STAGES == ("listing", "model", "extraction", "pca", "quality", "saving", "report")
    assert manifest["model"].keys() >= {"weights", "sha256", "tensors", "parameters", "bytes", "engine"}
    assert manifest["model_flatbuffer"] == "/models/x/model.tflite"
    assert manifest["images_per_second"] == 1.5
    assert manifest["spark"].keys() == {"application", "event_log_dir"}
    assert (manifest["ignored"], manifest["ignored_kinds"]) == (2, {".txt": 2})
    assert manifest["notes"] == ["a sentence"]


def test_a_package_that_is_not_there_has_no_version(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes of a cluster have no Keras, and Spark and this package are not installed there by pip."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: None if name != "keras" else _raise(name))
    versions = read_versions(spark)
    assert versions["keras"] is None
    assert versions["fruits"] == fruits.__version__
    assert versions["pyspark"] == versions["spark"] == spark.version


def _raise(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


def test_pca_is_honest_about_the_target(manifest: dict[str, Any]) -> None:
    assert manifest["pca"]["requested"] == manifest["pca"]["kept"] == 1
    assert manifest["pca"]["components_for_target"] is None
    assert manifest["pca"]["cumulative"] == pytest.approx(0.8)
    assert summarise(manifest)["components for 95%"] == "not reached with 1"


def test_stopwatch_adds_up_even_when_the_block_fails() -> None:
    watch = Stopwatch()

    for _ in range(2):
        with pytest.raises(KeyError), watch.time("pca"):
            raise KeyError

    assert 0 <= watch.seconds["pca"] < 1
    assert watch.seconds["saving"] == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "checkout"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/module.py").write_text("1")
    ask_git(folder, "init", "-q")
    ask_git(folder, "add", ".")
    ask_git(folder, "commit", "-qm", "one")
    return folder


def ask_git(folder: Path, *words: str) -> str:
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x", *words]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("file", "edited"),
    [
        ("lib/module.py", True),
        ("lib/new.py", True),
        ("lib/new file é.py", True),
        ("lib/.DS_Store", False),
        ("params/.in-use", False),
        ("params/PEARS.yaml", True),
        ("reports/.in-use", False),
        ("data/MINI/run.json", False),
        ("notes.txt", False),
    ],
)
def test_commit_of_a_checkout_and_whether_its_code_was_edited(checkout: Path, file: str, edited: bool) -> None:
    head = ask_git(checkout, "rev-parse", "HEAD")
    assert read_commit(checkout) == {"git_commit": head, "git_dirty": False}
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text("2")
    assert read_commit(checkout) == {"git_commit": head, "git_dirty": edited}


def test_the_repository_of_a_git_hook_is_not_ours(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = read_commit(checkout)
    ask_git(tmp_path, "clone", "-q", str(checkout), "other")
    ask_git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "two")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no/index"))

    assert read_commit(checkout) == ours


def test_a_copy_inside_another_repository_has_no_commit(checkout: Path) -> None:
    copy = checkout / "vendor/fruits"
    copy.mkdir(parents=True)
    assert read_commit(copy) == {"git_commit": None, "git_dirty": None}
    assert read_commit(checkout.parent) == read_commit(None) == {"git_commit": None, "git_dirty": None}


def test_the_author_is_the_one_that_git_knows(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(checkout))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(checkout))
    assert read_author(None) is None
    ask_git(checkout, "config", "user.name", "Élodie Example")
    assert read_author(checkout) == "Élodie Example"
    ask_git(checkout, "config", "user.name", "")
    assert read_author(checkout) is None
