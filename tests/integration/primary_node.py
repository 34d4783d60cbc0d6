"""Plays the primary node of moto's clusters: really runs each step, and ends it as its command ended.

Moto leaves steps running for ever. This takes them, runs their commands on this machine with a stand-in for the AWS
CLI, this environment in the place of the nodes' and local Spark in the place of YARN.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aws_shim
from cloud import BUCKET
from emr.cluster import VENV
from emr.settings import load_settings
from template import read_cluster, read_properties

from fruits.session import connect_s3, find_s3_jars

REGION = "eu-west-1"


def environ(folder: Path, *, endpoint: str) -> dict[str, str]:
    """Give a step's process what a node's would have."""
    aws_shim.install(folder / "bin")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK", "SPARK"))}
    import pyspark

    # EMR's own settings say what s3:// is. Of the others only those of the logs make sense without YARN.
    chosen = read_properties(read_cluster(load_settings(), bucket=BUCKET)["Configurations"], "spark-defaults")
    settings = {name: value for name, value in chosen.items() if name.startswith("spark.eventLog.")}
    settings |= connect_s3(find_s3_jars(), local=True, environ={"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION})
    settings["spark.driver.extraClassPath"] = os.pathsep.join(map(str, find_s3_jars()))
    (folder / "conf").mkdir(exist_ok=True)
    lines = [f"{name} {value}\n" for name, value in settings.items()]
    (folder / "conf/spark-defaults.conf").write_text("".join(lines))
    return kept | {
        "SPARK_CONF_DIR": str(folder / "conf"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "FRUITS_MASTER": "local[2]",
        "FRUITS_TICK": "5",
    }


def run_step(step: Any, *, env: dict[str, str], folder: Path) -> None:
    """Run a step's command in a folder of its own, as command-runner.jar does."""
    place = folder / step.id
    place.mkdir(parents=True)
    command = [sys.prefix if part == VENV else part for part in step.hadoop_jar_step["Args"]]
    step.start_date_time = datetime.now(UTC)
    done = subprocess.run(command, env=env, cwd=place, capture_output=True, check=False)
    step.end_date_time = datetime.now(UTC)
    (place / "stdout").write_bytes(done.stdout)
    (place / "stderr").write_bytes(done.stderr)
    step.state = "FAILED" if done.returncode else "COMPLETED"


@contextmanager
def primary_node(folder: Path, *, endpoint: str) -> Iterator[None]:
    """Run every step of every cluster, one after the other, while the block lasts."""
    from moto.emr.models import emr_backends

    env, over, seen = environ(folder, endpoint=endpoint), threading.Event(), set()

    def work() -> None:
        while not over.wait(0.2):
            backends = [backend for account in emr_backends.values() for backend in account.values()]
            steps = [step for backend in backends for found in list(backend.clusters.values()) for step in found.steps]
            for step in steps:
                if step.id not in seen:
                    seen.add(step.id)
                    step.state = "RUNNING"
                    run_step(step, env=env, folder=folder)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join(timeout=60)
