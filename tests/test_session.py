"""Which settings a session is started with; what Spark makes of them is tested wherever Spark runs."""

import os
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from pyspark.sql import SparkSession

from fruits.session import choose_environment, choose_java_options, choose_python, choose_settings, open_session

ELSEWHERE = {"PYSPARK_PYTHON": "/opt/fruits/venv/bin/python"}


@pytest.mark.parametrize("master", ["local", "local[*]", "local[2,4]", "local-cluster[2,1,1024]"])
def test_workers_of_this_machine_run_this_interpreter_and_loopback(master: str) -> None:
    assert choose_python(master, ELSEWHERE) == sys.executable
    settings = choose_settings(master)
    assert (settings["spark.driver.host"], settings["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("master", ["spark://10.0.0.1:7077", "yarn"])
def test_workers_of_other_machines_run_what_is_named_and_reach_the_driver(master: str) -> None:
    assert choose_python(master, ELSEWHERE) == ELSEWHERE["PYSPARK_PYTHON"]
    assert choose_python(master, {}) == choose_python(master, {"PYSPARK_PYTHON": ""}) == sys.executable
    assert not any(name.startswith("spark.driver.") for name in choose_settings(master))


@pytest.mark.parametrize("master", ["local[*]", "spark://10.0.0.1:7077"])
def test_every_session_started_here_reports_its_counts(master: str) -> None:
    assert choose_settings(master)["spark.executor.heartbeatInterval"] == "1s"


def test_a_query_means_the_same_with_each_release(spark: SparkSession) -> None:
    found = spark.sql("SELECT CAST('x' AS INT), CAST(TIMESTAMP '2026-01-01 00:00:00+02:00' AS STRING)").first()
    assert tuple(found) == (None, "2025-12-31 22:00:00")  # no ANSI casts, UTC


def test_tables_are_written_and_sent_as_the_settings_say(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(4).coalesce(1).write.parquet(str(tmp_path / "table"))
    (part,) = (tmp_path / "table").glob("*.parquet")
    assert pq.read_metadata(part).row_group(0).column(0).compression == "UNCOMPRESSED"

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

    sizes = spark.range(5000).coalesce(1).mapInArrow(count, "rows bigint").collect()
    assert [size.rows for size in sizes] == [2048, 2048, 904]


def test_a_private_session_keeps_its_temporary_files_where_the_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/my tmp")
    assert choose_settings("local[*]")["spark.local.dir"] == "/my tmp"
    options = shlex.split(choose_java_options("local[*]", {"JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=p -Xmx1m"}))
    assert {"-Djava.io.tmpdir=/my tmp", "-Dsun.jnu.encoding=UTF-8", "-Dhttp.proxyHost=p"} <= set(options)
    assert "-Xmx1m" not in options
    assert "tmpdir" not in choose_java_options("yarn", {})
    assert "spark.local.dir" not in choose_settings("yarn")


def test_a_private_session_has_its_own_environment_and_another_the_users() -> None:
    own = choose_environment("local", {})
    assert own["LC_ALL"] == "C.UTF-8"
    assert own["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert (Path(own["SPARK_HOME"]) / "jars").is_dir()
    settings = {file.name for file in Path(own["SPARK_CONF_DIR"]).iterdir()}
    assert not {"spark-defaults.conf", "spark-env.sh", "core-site.xml", "hive-site.xml"} & settings
    assert choose_environment("yarn", {"PYSPARK_PYTHON": "/p"}).keys() - {"JAVA_HOME"} == {
        "PYSPARK_PYTHON",
        "PYSPARK_DRIVER_PYTHON",
    }


def test_a_running_session_is_taken_as_it_is(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", "/nowhere")
    before = dict(os.environ), dict(spark.sparkContext.getConf().getAll())
    assert open_session(master="local[9]", driver_memory="9g").sparkContext is spark.sparkContext
    assert (dict(os.environ), dict(spark.sparkContext.getConf().getAll())) == before


def test_the_web_page_is_on_loopback_and_stops_no_job(spark: SparkSession) -> None:
    page, context = spark.sparkContext.uiWebUrl, spark.sparkContext
    assert page.startswith("http://127.0.0.1:")
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


def spark_connections() -> list[object]:
    children = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    return [used for child in children for used in child.net_connections("inet")]
