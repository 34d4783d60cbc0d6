"""Spark jobs at the same time: their results, and what becomes of the others when one fails."""

import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from py4j.java_gateway import JavaGateway
from pyspark.sql import SparkSession

from fruits.jobs import keeps_threads, run_jobs


def count(spark: SparkSession, rows: int) -> int:
    return spark.sparkContext.parallelize(range(rows), 1).count()


def test_results_come_in_the_order_of_the_jobs(spark: SparkSession) -> None:
    def wait_and_count(rows: int) -> int:
        time.sleep(0.3 if rows == 5 else 0)
        return count(spark, rows)

    jobs = {f"count {rows}": partial(wait_and_count, rows) for rows in (5, 3, 4)}
    assert run_jobs(spark.sparkContext, jobs, at_once=3) == [5, 3, 4]


def test_the_jobs_are_described_on_sparks_page_and_share_the_group_that_is_set(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setJobGroup("statement 8", "a cell")
    try:
        jobs = {name: partial(context.getLocalProperty, "spark.job.description") for name in ("one", "two")}
        assert run_jobs(context, jobs, at_once=2) == ["one", "two"]
        context.setLocalProperty("spark.scheduler.pool", "mine")
        names = ("spark.jobGroup.id", "spark.scheduler.pool")
        told = {name: partial(context.getLocalProperty, name) for name in names}
        assert run_jobs(context, told, at_once=1) == ["statement 8", "mine"]
    finally:
        for name in ("spark.jobGroup.id", "spark.job.description", "spark.scheduler.pool"):
            context.setLocalProperty(name, None)  # type: ignore[arg-type]


def test_a_thread_of_livys_gateway_is_no_thread_of_the_jvm(spark: SparkSession) -> None:
    assert keeps_threads(spark.sparkContext)
    livys: Any = SimpleNamespace(_gateway=JavaGateway(auto_convert=True))
    assert not keeps_threads(livys)


def test_the_first_that_fails_cancels_the_others(spark: SparkSession) -> None:
    context = spark.sparkContext

    def fail() -> int:
        while not context.statusTracker().getActiveJobsIds():
            time.sleep(0.05)
        raise ValueError("this one")

    def never_end() -> int:
        return context.parallelize([0], 1).map(lambda _: time.sleep(600)).count()

    began = time.monotonic()
    with pytest.raises(ValueError, match="this one"):
        run_jobs(context, {"a": never_end, "b": fail, "c": never_end}, at_once=2)
    assert time.monotonic() - began < 60


def test_ctrl_c_gives_the_jobs_the_time_to_finish(spark: SparkSession) -> None:
    seen: list[int] = []

    def interrupt() -> int:
        raise KeyboardInterrupt

    jobs = {"a": lambda: count(spark, 7), "b": interrupt}
    with pytest.raises(KeyboardInterrupt):
        run_jobs(spark.sparkContext, jobs, at_once=2, finish=lambda jobs: seen.append(jobs[0].result()))
    assert seen == [7]
