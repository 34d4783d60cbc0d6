"""More than one machine: executors in processes of their own, one of which dies."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = """
import sys, threading, time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

import fruits.features.extraction as compute
from fruits.features.model import Backbone
from fruits.images import open_images
from fruits.pca import fit_pca
from fruits.features.store import read_features
from fruits.session import open_session

root, store = map(Path, sys.argv[1:])
spark = open_session(master="local-cluster[2,1,1024]", driver_memory="1g")


def make():
    def predict(pixels):
        time.sleep(0.3 * len(pixels))
        return pixels.reshape(len(pixels), -1)[:, :1280].astype(np.float32)

    return predict


def is_executor(process):
    try:
        return process.name() == "java" and "CoarseGrainedExecutorBackend" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def kill_one():
    while not list(store.glob("batch-*/_SUCCESS")):
        time.sleep(0.05)
    executors = [child for child in psutil.Process().children(recursive=True) if is_executor(child)]
    executors[0].kill()
    print("killed 1 of", len(executors), flush=True)


compute.broadcast_engine = lambda *_: make
images = open_images(root).list_images(split="Training", classes=["*"])
backbone = Backbone(weights="", sha256="", engine="litert", tensors=1, parameters=1, bytes=1, folder=Path())
threading.Thread(target=kill_one, daemon=True).start()
settings = {"backbone": backbone, "input_dir": root, "store": store, "batch_size": 1, "images_per_task": 3}
done = compute.compute_features(spark, images, **settings)
assert (done.features, done.computed, done.errors) == (24, 24, []), done
assert fit_pca(read_features(spark, done.images, store=store), k=2).n_samples == 24
spark.stop()
print("complete")
"""


@pytest.mark.notebook
def test_an_executor_that_is_killed_is_replaced(tmp_path: Path, image_bytes: Callable[..., bytes]) -> None:
    folder = tmp_path / "images/Training/Kiwi"
    folder.mkdir(parents=True)
    for number in range(24):
        (folder / f"{number:02d}.jpg").write_bytes(image_bytes(seed=number))
    environ = {**os.environ, "SPARK_WORKER_DIR": str(tmp_path / "work"), "SPARK_LOCAL_IP": "127.0.0.1"}

    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "images"), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "killed 1 of 2" in done.stdout
    assert "complete" in done.stdout
