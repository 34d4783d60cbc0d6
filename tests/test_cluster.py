"""What a notebook on a cluster is told of it."""

import json
from pathlib import Path

from pyspark.sql import SparkSession

from fruits import emr_node


def test_a_node_of_emr_names_its_cluster(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "job-flow.json").write_text(json.dumps({"jobFlowId": "j-2AXXXXXXGAPLF"}))
    told = emr_node.describe_cluster(spark, node=tmp_path / "job-flow.json")
    assert list(told) == ["cluster", "Spark", "executors", "Python", "cost", "stop it", "it ends"]
    assert told["cluster"] == "j-2AXXXXXXGAPLF"
    assert told["Spark"].startswith(f"{spark.version}, local-")
    assert told["executors"] == "none yet, or the driver itself (2 cores)"
    assert told["Python"].startswith("3.11.")
    assert "aws_setup.sh terminate" in told["stop it"]


def test_elsewhere_it_says_so_and_makes_nothing_up(spark: SparkSession, tmp_path: Path) -> None:
    told = emr_node.describe_cluster(spark, node=tmp_path / "nothing")
    assert told["cluster"] == "this is no node of EMR"
    assert told["cost"] == "unknown"
    assert "after ? idle minutes" in told["it ends"]
