"""Where a notebook on a cluster is: on which one, what it costs an hour, how it ends."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# EMR writes the description of the cluster there on each of its nodes.
EMR_NODE = Path("/mnt/var/lib/info/job-flow.json")
# Spark properties by which a cluster tells its notebooks what only its maker knows, such as where this package
# lies; emr/configurations.py sets them.
CODE = "spark.fruits.code"
HOUR = "spark.fruits.hour"
IDLE_MINUTES = "spark.fruits.idleMinutes"
LIVY_MINUTES = "spark.fruits.livyMinutes"


def describe_cluster(spark: "SparkSession", *, node: Path = EMR_NODE) -> dict[str, str]:
    """Return what one wants to know before the first cell runs.

    Parameters
    ----------
    node
        The file in which a node of EMR describes its cluster.

    Returns
    -------
    dict
        `cluster`, `Spark`, `executors`, `Python`, `cost`, `stop it` and `it ends`: a line each.
    """
    conf = spark.sparkContext.getConf()
    idle, livy = (conf.get(name, "?") for name in (IDLE_MINUTES, LIVY_MINUTES))
    return {
        "cluster": json.loads(node.read_text())["jobFlowId"] if node.is_file() else "this is no node of EMR",
        "Spark": f"{spark.version}, {spark.sparkContext.applicationId} on {spark.sparkContext.master}",
        "executors": _describe_executors(spark),
        "Python": f"{sys.version.split()[0]} ({sys.executable})",
        "cost": conf.get(HOUR, "unknown"),
        "stop it": "scripts/aws_setup.sh terminate, on your machine",
        "it ends": f"after {idle} idle minutes; an open session is not idle; it closes {livy} minutes after a cell",
    }


def _describe_executors(spark: "SparkSession") -> str:
    """Count the executors that are there now; the tracker lists the driver among them."""
    context = spark.sparkContext
    others = len(context._jsc.sc().statusTracker().getExecutorInfos()) - 1
    if not others:
        return f"none yet, or the driver itself ({context.defaultParallelism} cores)"
    cores, memory = (context.getConf().get(f"spark.executor.{name}", "?") for name in ("cores", "memory"))
    return f"{others} of {cores} cores, {memory}"
