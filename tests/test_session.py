"""The settings of a session, and the description of a cluster."""

import json
import os
import platform
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
import requests
from pyspark.sql import SparkSession

from fruits.java import choose_java_options
from fruits.session import choose_environment, choose_settings, describe_cluster, open_session

ELSEWHERE = {"PYSPARK_PYTHON": "/opt/fruits/venv/bin/python"}


@pytest.mark.parametrize("master", ["local", "local[*]", "local[2,4]", "local-cluster[2,1,1024]"])
def test_local_workers_run_this_python_on_loopback(master: str) -> None:
    assert choose_environment(master, ELSEWHERE)["PYSPARK_PYTHON"] == sys.executable
    settings = choose_settings(master)
    assert (settings["spark.driver.host"], settings["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")
    assert settings["spark.executor.heartbeatInterval"] == "1s"


@pytest.mark.parametrize("master", ["spark://10.0.0.1:7077", "yarn"])
def test_remote_workers_run_the_named_python_and_reach_the_driver(master: str) -> None:
    chosen = [choose_environment(master, environ) for environ in (ELSEWHERE, {}, {"PYSPARK_PYTHON": ""})]
    assert [environ["PYSPARK_PYTHON"] for environ in chosen] == [
        *(ELSEWHERE["PYSPARK_PYTHON"], sys.executable, sys.executable)
    ]
    assert not any(name.startswith("spark.driver.") for name in choose_settings(master))
    assert choose_settings(master)["spark.executor.heartbeatInterval"] == "1s"


def test_query_gives_the_same_with_each_release(spark: SparkSession) -> None:
    found = spark.sql("SELECT CAST('x' AS INT), CAST(TIMESTAMP '2026-01-01 00:00:00+02:00' AS STRING)").first()
    assert found == (None, "2025-12-31 22:00:00")  # no ANSI casts, UTC


def test_tables_are_uncompressed_and_sent_in_small_batches(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(4).coalesce(1).write.parquet(str(tmp_path / "table"))
    (part,) = (tmp_path / "table").glob("*.parquet")
    assert pq.read_metadata(part).row_group(0).column(0).compression == "UNCOMPRESSED"

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

    sizes = spark.range(5000).coalesce(1).mapInArrow(count, "rows bigint").collect()
    assert [size.rows for size in sizes] == [2048, 2048, 904]


def test_local_session_uses_the_temporary_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/my tmp")
    assert choose_settings("local[*]")["spark.local.dir"] == "/my tmp"
    options = shlex.split(choose_java_options({"JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=p -Xmx1m"}, local=True))
    assert {"-Djava.io.tmpdir=/my tmp", "-Dsun.jnu.encoding=UTF-8", "-Dhttp.proxyHost=p"} <= set(options)
    assert "-Xmx1m" not in options
    assert "tmpdir" not in choose_java_options({}, local=False)
    assert "spark.local.dir" not in choose_settings("yarn")


def test_local_session_has_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits.session.find_s3_jars", lambda: [Path("/a b/x.jar"), Path("/y.jar")])
    own = choose_environment("local", {})
    assert own["SPARK_DIST_CLASSPATH"] == "/a b/x.jar:/y.jar"
    assert own["LC_ALL"] == "C.UTF-8"
    assert own["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert (Path(own["SPARK_HOME"]) / "jars").is_dir()
    assert not Path(own["SPARK_CONF_DIR"]).exists()
    assert choose_environment("yarn", {"PYSPARK_PYTHON": "/p"}).keys() - {"JAVA_HOME"} == {
        "PYSPARK_PYTHON",
        "PYSPARK_DRIVER_PYTHON",
    }


def test_running_session_is_not_changed(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", "/nowhere")
    before = dict(os.environ), dict(spark.sparkContext.getConf().getAll())
    assert open_session(master="local[9]", driver_memory="9g").sparkContext is spark.sparkContext
    assert (dict(os.environ), dict(spark.sparkContext.getConf().getAll())) == before


def test_web_page_is_on_loopback_and_cannot_stop_a_job(spark: SparkSession) -> None:
    page, context = spark.sparkContext.uiWebUrl, spark.sparkContext
    assert str(page).startswith("http://127.0.0.1:")
    done = []
    job = threading.Thread(target=lambda: done.append(context.parallelize([2], 1).map(time.sleep).count()))
    job.start()
    while not (running := context.statusTracker().getActiveJobsIds()):
        time.sleep(0.01)
    for way in (requests.get, requests.post):
        way(f"{page}/jobs/job/kill/?id={running[0]}", timeout=5)
        way(f"{page}/stages/stage/kill/?id=0", timeout=5)
    job.join(30)
    assert done == [1]
    listening = [used.laddr.ip for used in spark_connections() if used.status == psutil.CONN_LISTEN]
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def spark_connections() -> list[Any]:
    children = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    return [used for child in children for used in child.net_connections("inet")]


def test_workers_import_the_installed_pyspark(spark: SparkSession) -> None:
    """Not that of Spark's zip, which Python compiles at every start."""
    (file,) = spark.sparkContext.parallelize([0], 1).map(lambda _: sys.modules["pyspark"].__file__).collect()
    assert file == pyspark.__file__


def test_queries_and_other_jobs_share_their_workers(spark: SparkSession) -> None:
    """Each set of workers has a daemon of its own, which starts in a second."""

    def name_daemon(_: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"daemon": [os.getppid()]})

    (query,) = spark.range(1).coalesce(1).mapInArrow(name_daemon, "daemon bigint").collect()
    assert spark.sparkContext.parallelize([0], 1).map(lambda _: os.getppid()).collect() == [query.daemon]


def test_node_of_emr_names_its_cluster(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "job-flow.json").write_text(json.dumps({"jobFlowId": "j-2AXXXXXXGAPLF"}))
    told = describe_cluster(spark, node=tmp_path / "job-flow.json")
    assert list(told) == ["cluster", "Spark", "executors", "Python", "cost", "stop it", "it ends"]
    assert told["cluster"] == "j-2AXXXXXXGAPLF"
    assert told["Spark"].startswith(f"{spark.version}, local-")
    assert told["executors"] == "none yet, or the driver itself (2 cores)"
    assert told["Python"].startswith(f"{platform.python_version()} (")
    assert "aws_setup.sh terminate" in told["stop it"]
    told = describe_cluster(spark, node=tmp_path / "nothing")
    assert (told["cluster"], told["cost"]) == ("this is not a node of EMR", "unknown")
    assert "after ? idle minutes" in told["it ends"]
