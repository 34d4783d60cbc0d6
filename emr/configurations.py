"""EMR's classifications: which Python Spark and Livy use, how executors are cut, how JupyterHub behaves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emr.bucket import CODE
from emr.costs import count_vcpus, estimate_hour, format_money
from emr.settings import Settings
from fruits import session

# Where emr/bootstrap.sh puts the environment on every node.
VENV = "/opt/fruits/venv"
PYTHON = f"{VENV}/bin/python"
SPARKMAGIC = Path(__file__).parent / "sparkmagic.json"
# YARN is given about three quarters of a node (EMR's own tables), and the application master needs its part of one.
_YARN_SHARE = 0.75
_MASTER_MB = 1024

Classification = dict[str, Any]


def build_configurations(settings: Settings, *, bucket: str) -> list[Classification]:
    """Build the classifications of the cluster; all values are text, as EMR wants them."""
    python = {"PYSPARK_PYTHON": PYTHON, "PYSPARK_DRIVER_PYTHON": PYTHON}
    livy = {
        # The driver beside Livy, on the primary node: executors are cut to fill the others (`spark_settings`).
        "livy.spark.deploy-mode": "client",
        "livy.server.session.timeout": f"{settings.livy_minutes}m",
        # Else Livy 0.8 ends a session in the middle of a long statement: it counts from the statement's start.
        "livy.server.session.timeout-check.skip-busy": "true",
    }
    persistence = {"s3.persistence.enabled": "true", "s3.persistence.bucket": bucket}
    return [
        _classify("spark-env", exports=python),
        _classify("spark-defaults", spark_settings(settings) | notebook_settings(settings, bucket=bucket)),
        _classify("livy-env", exports=python),
        _classify("livy-conf", livy),
        _classify("jupyter-s3-conf", persistence),
        _classify("jupyter-sparkmagic-conf", sparkmagic_settings()),
    ]


def spark_settings(settings: Settings) -> dict[str, str]:
    """Give each node one executor with all its cores, half of its memory outside the heap for the Python workers."""
    node = settings.prices["instances"][settings.core_type]
    container = int(node["memory_gib"] * 1024 * _YARN_SHARE) - _MASTER_MB
    nodes = settings.core_count + settings.task_count
    return {
        # Livy asks for this one before PYSPARK_PYTHON, and containers know neither of the driver's.
        "spark.pyspark.python": PYTHON,
        "spark.pyspark.driver.python": PYTHON,
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": PYTHON,
        "spark.executorEnv.PYSPARK_PYTHON": PYTHON,
        # In client mode the driver shares the primary node with YARN, HDFS and JupyterHub.
        "spark.driver.memory": f"{settings.prices['instances'][settings.primary_type]['memory_gib'] * 1024 // 4}m",
        "spark.executor.cores": str(node["vcpus"]),
        "spark.executor.memory": f"{container // 2}m",
        "spark.executor.memoryOverhead": f"{container // 2}m",
        # All nodes from the start; an idle notebook gives them back, so that a step can run beside it.
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.initialExecutors": str(nodes),
        "spark.dynamicAllocation.maxExecutors": str(nodes),
        # Batches are cut for as many tasks as there are cores, also before the executors have come.
        "spark.default.parallelism": str(count_vcpus(settings)),
    }


def notebook_settings(settings: Settings, *, bucket: str) -> dict[str, str]:
    """Tell a notebook where its code lies, what the cluster costs and when it ends: its first cell asks Spark.

    The code comes by Spark's `addPyFile`, since Livy puts a list of its own in the place of `spark.submit.pyFiles`.
    """
    hour = estimate_hour(settings)
    return {
        session.CODE: f"s3://{bucket}/{CODE}fruits.zip",
        session.HOUR: f"about {format_money(hour.total, settings)} an hour, prices of {settings.prices['date']}",
        session.IDLE_MINUTES: str(settings.idle_minutes),
        session.LIVY_MINUTES: str(settings.livy_minutes),
    }


def sparkmagic_settings() -> dict[str, str]:
    """Read sparkmagic's settings and spell them as EMR wants properties: JSON values as text."""
    values = json.loads(SPARKMAGIC.read_text(encoding="utf-8"))
    return {key: json.dumps(value) for key, value in values.items()}


def _classify(
    name: str, properties: Mapping[str, str] | None = None, *, exports: Mapping[str, str] | None = None
) -> Classification:
    nested = [{"Classification": "export", "Properties": dict(exports)}] if exports else []
    return {"Classification": name, "Properties": dict(properties or {}), "Configurations": nested}
