"""Which settings a session is started with; what Spark makes of them is tested wherever Spark runs."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fruits.session import choose_python, choose_settings

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
