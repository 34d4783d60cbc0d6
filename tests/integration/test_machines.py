"""More than one machine: Spark standalone, a master and two workers; budget: 3 minutes.

They are in network namespaces, on loopback addresses where these are not allowed (see machines.py). Executors run the
environment of an EMR node, made by emr/bootstrap.sh and without TensorFlow, and get the package as a zip, as there.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from cloud import clean_environ, shell
from machines import Cluster, start_cluster
from PIL import Image
from pyspark.sql import SparkSession

from fruits.features.batches import list_batches
from fruits.features.extraction import compute_features
from fruits.features.model import load_model
from fruits.features.store import read_features
from fruits.images import open_images
from fruits.params import repository
from fruits.pca import fit_pca
from fruits.workers import zip_code

pytestmark = [pytest.mark.integration, pytest.mark.tensorflow]
pytest_plugins = ("node_fixtures",)
DRIVER = Path(__file__).with_name("machines_driver.py")
COUNT = 60


@dataclass(frozen=True)
class Run:
    """What a run on the cluster left, and what was done to it."""

    cluster: Cluster
    folder: Path
    code: int
    output: str
    first: dict[str, Any]
    left: int  # images without new features when the machine was lost

    @property
    def events(self) -> list[dict[str, Any]]:
        (file,) = (self.folder / "events").iterdir()
        return [json.loads(line) for line in file.read_text().splitlines()]

    def tasks(self, *, afresh: bool) -> list[dict[str, Any]]:
        """Return what Spark's event log says of each task of the first or of the second extraction."""
        jobs = [event for event in self.events if event["Event"] == "SparkListenerJobStart"]
        described = {
            stage: job["Properties"].get("spark.job.description", "") for job in jobs for stage in job["Stage IDs"]
        }
        kept = {
            stage
            for stage, text in described.items()
            if text.startswith("features, ") and text.endswith(f" of {COUNT}") == afresh
        }
        ended = [
            event for event in self.events if event["Event"] == "SparkListenerTaskEnd" and event["Stage ID"] in kept
        ]
        return [event["Task Info"] for event in ended]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(COUNT):
        file = root / "Training" / f"Kiwi {number % 3}" / f"{number:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (100, 100, 3), np.uint8)).save(file, quality=90)
    return root


@pytest.fixture(scope="module")
def run(images: Path, models: Path, node_venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run the driver on the cluster, and lose the second machine in the middle of its second extraction."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "events").mkdir()
    store, output = folder / "store", folder / "first.json"
    archive = folder / "fruits.zip"
    zip_code(archive, repository() / "lib", "fruits")
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (folder / "events").as_uri(),
        # When Spark stops, its cleaner waits so long for what it asked of the machine that is gone; 120 s otherwise.
        "spark.network.timeout": "20s",
        "spark.network.timeoutInterval": "10s",
    }
    options = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    env = {
        "PYSPARK_PYTHON": str(node_venv / "bin" / "python"),
        "PYSPARK_SUBMIT_ARGS": f"--py-files {archive} {options} pyspark-shell",
    }
    with start_cluster(folder / "machines") as cluster:
        arguments = [cluster.master, *map(str, (images, store, models, output))]
        log = cluster.primary.start(sys.executable, str(DRIVER), *arguments, env=env, log="driver.log")
        driver, end = cluster.primary.processes[-1], time.monotonic() + 120
        while not output.exists() and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        before = len(list_batches(store))
        while (new := len(list_batches(store)) - before) < 4 and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        cluster.workers[1].lose()
        code = driver.wait(timeout=120)
        first = json.loads(output.read_text()) if output.exists() else {}
        yield Run(cluster, folder, code, log.read_text(), first, COUNT - new)


def read_rows(store: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Return the paths of a store's images, sorted, and their features; of twice computed ones, both."""
    files = [file for batch in list_batches(store) for file in batch.glob("*.parquet")]
    rows = sorted(
        row
        for file in files
        for row in zip(*pq.read_table(file, columns=["path", "features"]).to_pydict().values(), strict=True)
    )
    return [path for path, _ in rows], np.array([features for _, features in rows], np.float32)


def test_nodes_have_no_tensorflow(node_venv: Path) -> None:
    done = shell(str(node_venv / "bin" / "python"), "-c", "import tensorflow", env=clean_environ())
    assert "No module named 'tensorflow'" in done.stderr


def test_two_machines_compute_what_one_does(run: Run, spark: SparkSession, images: Path, models: Path) -> None:
    backbone = load_model("random", folder=models)
    listed, store = open_images(images).list_images(split="Training", classes=["*"]), run.folder / "local"
    where: dict[str, Any] = {"input_dir": images, "store": store, "batch_size": 4, "images_per_task": 8}
    done = compute_features(spark, listed, backbone=backbone, **where)
    assert done.computed == COUNT
    paths, features = read_rows(store)

    assert run.first["counts"] == [COUNT, COUNT, 0], run.output
    found, computed = read_rows(run.folder / "store")
    assert found == sorted([*paths, *paths])  # the second extraction's, too
    assert np.array_equal(computed, np.repeat(features, 2, axis=0))
    shares = fit_pca(read_features(spark, done.images, store=store), k=5).explained_variance_ratio
    assert np.allclose(run.first["shares"], shares, rtol=1e-9, atol=0)


def test_workers_are_nodes_without_tensorflow(run: Run, node_venv: Path) -> None:
    seen = run.first["workers"]
    assert len(seen) == 8, run.output
    for worker in run.cluster.workers:
        assert any(Path(look["folder"]).is_relative_to(worker.folder / "work") for look in seen)
    assert {look["python"] for look in seen} == {str(node_venv / "bin" / "python")}
    assert all("fruits.zip" in look["package"] for look in seen)
    assert all(look["features"] == [1, 1280] for look in seen)
    assert not any(look["imported"] or look["tensorflow"] for look in seen)


def test_both_machines_took_part(run: Run) -> None:
    for afresh in (False, True):
        hosts = {task["Host"] for task in run.tasks(afresh=afresh) if not task["Failed"]}
        assert hosts == {worker.address for worker in run.cluster.workers}


def test_a_machine_that_is_lost_takes_no_image_with_it(run: Run) -> None:
    assert run.code == 0, run.output
    assert f"afresh: {COUNT} {COUNT} 0" in run.output
    assert run.left > COUNT // 3, "the machine was lost too late to be missed"
    removed = [event for event in run.events if event["Event"] == "SparkListenerExecutorRemoved"]
    assert len(removed) == 1
    kept, _ = run.cluster.workers
    later = [task["Host"] for task in run.tasks(afresh=True) if task["Finish Time"] > removed[0]["Timestamp"]]
    assert set(later) == {kept.address}
