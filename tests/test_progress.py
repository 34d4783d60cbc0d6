"""The progress bar over real Spark jobs: it moves, ends at the total, and never boasts."""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

from fruits import progress
from fruits.progress import track_rows

BROKEN = (PythonException, Py4JJavaError)  # Which of them is a matter of how soon the job is cancelled.


def run_rows(spark: SparkSession, count: int, *, seconds: float = 0.0, fail_at: int = -1) -> None:
    """Send rows through one mapInArrow, each in a small batch of its own, as `write_batch` does."""

    def step(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            for row in range(batch.num_rows):
                time.sleep(seconds)
                if batch["id"][row].as_py() == fail_at:
                    raise ValueError("broken row")
                yield batch.slice(row, 1)

    spark.range(count, numPartitions=1).mapInArrow(step, "id long").collect()


def read_counts(output: str, total: int) -> list[int]:
    """Return the counts that the bar has shown, in order."""
    return [int(count) for count in re.findall(rf"(\d+)/{total} \[", output)]


def test_the_bar_ends_at_the_total(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    with track_rows(spark, total=5, every=0.05):
        run_rows(spark, 4)  # One of five is an error row: the work is done all the same.
    shown = capsys.readouterr().out
    assert read_counts(shown, 5)[-1] == 5
    assert "images/s" in shown.splitlines()[-1]
    assert max(map(len, re.split("[\r\n]", shown))) < 80
    assert "100%" in shown.splitlines()[-1]


def test_the_bar_moves_while_the_job_runs(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    with track_rows(spark, total=40, every=0.1):
        run_rows(spark, 40, seconds=0.1)
    counts = read_counts(capsys.readouterr().out, 40)
    assert counts == sorted(counts)
    assert any(0 < count < 40 for count in counts)


def test_rows_of_an_earlier_job_do_not_count(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    run_rows(spark, 5)
    with pytest.raises(BROKEN), track_rows(spark, total=5, every=0.05):
        run_rows(spark, 1, seconds=0.5, fail_at=0)
    assert set(read_counts(capsys.readouterr().out, 5)) == {0}


def test_a_failed_job_does_not_claim_to_be_done(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BROKEN, match="broken row"), track_rows(spark, total=5, every=0.05):
        run_rows(spark, 5, fail_at=3)
    shown = capsys.readouterr().out
    assert max(read_counts(shown, 5)) < 5
    assert "100%" not in shown


def test_more_rows_than_expected_do_not_pass_the_total(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    with track_rows(spark, total=5, every=0.05):
        run_rows(spark, 9)
        time.sleep(0.5)
    assert max(read_counts(capsys.readouterr().out, 5)) == 5


def test_rows_of_ended_jobs_count_when_newer_ones_have_pushed_them_out(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LATEST", 2)
    counter = progress._Counter(spark._jsparkSession.sharedState().statusStore())
    for total in (2, 4, 6, 8):
        run_rows(spark, 2)
        end = time.monotonic() + 10
        while counter.count_rows() < total and time.monotonic() < end:  # Spark reports a little later
            time.sleep(0.05)
        assert counter.count_rows() == total


def test_a_query_that_is_listed_after_a_later_one_counts(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = progress._Counter(spark._jsparkSession.sharedState().statusStore())
    before, end = set(counter.rows), time.monotonic() + 10
    run_rows(spark, 2)
    run_rows(spark, 3)
    while len(listed := counter._list_latest() - before) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    for seen, total in (({max(listed)}, 3), (listed, 5)):
        monkeypatch.setattr(counter, "_list_latest", lambda seen=seen: seen)
        while counter.count_rows() < total and time.monotonic() < end:
            time.sleep(0.05)
        assert counter.count_rows() == total


def test_no_thread_stays_behind(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    def watchers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "look_on" in thread.name]

    with track_rows(spark, total=5, every=0.05):
        assert len(watchers()) == 1
    assert watchers() == []
    assert "5/5" in capsys.readouterr().out
