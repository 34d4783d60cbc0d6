"""The event log: a small one with known answers, and a real one beside what Spark's REST API tells."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import requests
from matplotlib.figure import Figure
from pyspark.sql import SparkSession

from fruits import eventlog, plots
from fruits.errors import FruitsError
from fruits.events import gather_events

BEGIN = 1_700_000_000_000
ID = "application_1_0001"

Event = dict[str, Any]


def at(seconds: float) -> int:
    return BEGIN + round(1000 * seconds)


def task(stage: int, executor: str, start: float, end: float, *, reason: str = "Success", **metrics: int) -> Event:
    about = {"Executor ID": executor, "Launch Time": at(start), "Finish Time": at(end)}
    ended = {"Event": "SparkListenerTaskEnd", "Stage ID": stage, "Task Info": about, "Task End Reason": {}}
    ended["Task End Reason"] = {"Reason": reason}
    read = {"Remote Bytes Read": metrics.get("remote", 0), "Local Bytes Read": metrics.get("local", 0)}
    counted = {
        **{"Executor Run Time": metrics.get("run", 0), "JVM GC Time": metrics.get("gc", 0)},
        **{"Disk Bytes Spilled": metrics.get("spilled", 0), "Memory Bytes Spilled": 10**9},
        **{"Shuffle Read Metrics": read, "Shuffle Write Metrics": {"Shuffle Bytes Written": metrics.get("wrote", 0)}},
    }
    return ended | ({"Task Metrics": counted} if metrics else {})


def stage(number: int, name: str, start: float, end: float | None = None) -> Event:
    kind = "Submitted" if end is None else "Completed"
    about = {"Stage ID": number, "Stage Name": name, "Submission Time": at(start)}
    return {"Event": f"SparkListenerStage{kind}", "Stage Info": about | ({"Completion Time": at(end)} if end else {})}


def executor(name: str, cores: int, added: float) -> Event:
    about = {"Host": f"node-{name}", "Total Cores": cores}
    return {"Event": "SparkListenerExecutorAdded", "Timestamp": at(added), "Executor ID": name, "Executor Info": about}


def block(name: str, memory: int, disk: int = 0) -> Event:
    told = {"Block ID": name, "Memory Size": memory, "Disk Size": disk}
    return {"Event": "SparkListenerBlockUpdated", "Block Updated Info": told}


def job(number: int, start: float) -> Event:
    return {"Event": "SparkListenerJobStart", "Job ID": number, "Submission Time": at(start)}


EVENTS: list[Event] = [
    {"Event": "SparkListenerLogStart", "Spark Version": "3.5.8"},
    {"Event": "SparkListenerApplicationStart", "App ID": ID, "Timestamp": BEGIN},
    executor("1", 4, 1),
    executor("2", 2, 2),
    *[block("broadcast_0", 9), block("broadcast_0_piece0", 70), block("broadcast_0_piece0", 70)],
    *[block("broadcast_0_piece1", 0, 5), block("broadcast_0_piece0", 0), block("rdd_1_0", 999)],
    job(0, 3),
    stage(0, "collect at /home/ada/fruits/moments.py:80", 3),
    task(0, "1", 3, 4, run=900, gc=50, wrote=100),
    task(0, "1", 3, 5, run=1900, gc=50, wrote=200, spilled=7),
    task(0, "2", 3, 9, run=5900, gc=0, wrote=300),
    task(0, "2", 3, 3.5, reason="ExceptionFailure", run=100),
    task(0, "2", 3, 3.25, reason="ExecutorLostFailure"),
    stage(0, "collect at /home/ada/fruits/moments.py:80", 3, 9.5),
    {"Event": "SparkListenerExecutorRemoved", "Timestamp": at(10), "Executor ID": "2"},
    executor("3", 1, 10),
    stage(1, "count at NativeMethodAccessorImpl.java:0", 10) | {"Properties": {"spark.job.description": "to check"}},
    task(1, "3", 10, 10, run=0, remote=40, local=2),
    stage(1, "count at <unknown>:0", 10, 10.25),
    {
        "Event": "SparkListenerJobEnd",
        "Job ID": 0,
        "Completion Time": at(10.5),
        "Job Result": {"Result": "JobSucceeded"},
    },
    job(1, 11),
    {"Event": "SparkListenerApplicationEnd", "Timestamp": at(12)},
]
SUMMARY = {
    **{"application": ID, "event_log": f"{ID}.zstd", "jobs": 2, "stages": 2, "tasks": 6, "failed_tasks": 2},
    **{"seconds": 12.0, "task_seconds": 8.8, "gc_seconds": 0.1, "shuffle_read_bytes": 42, "shuffle_write_bytes": 600},
    **{"spilled_bytes": 7, "skew": 3.0, "executors": 2, "cores": 6, "broadcast_bytes": 75},
}


def write_log(file: Path, events: Sequence[Event], *, frames: int = 2) -> Path:
    """Write a log as Spark does: JSON lines in several frames of zstd."""
    file.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(event) + "\n" for event in events).encode()
    step = -(-len(text) // frames)
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    file.write_bytes(b"".join(pa.compress(part, codec="zstd", asbytes=True) for part in parts))
    return file


def test_a_small_log_has_known_figures(tmp_path: Path) -> None:
    run = eventlog.read_event_log(write_log(tmp_path / f"{ID}.zstd", EVENTS))

    assert run.summarise() == SUMMARY
    assert json.loads(json.dumps(run.summarise())) == SUMMARY  # no types of NumPy
    first, second = run.stages.to_dict("records")
    assert first == {
        **{"stage": 0, "name": "collect at moments.py:80", "started": 3.0, "seconds": 6.5, "tasks": 5, "failed": 2},
        **{"task_seconds": 8.8, "gc_seconds": 0.1, "shuffle_read_bytes": 0, "shuffle_write_bytes": 600},
        **{"spilled_bytes": 7, "longest": 6.0, "median": 2.0, "skew": 3.0},
    }
    assert (second["name"], second["tasks"], second["shuffle_read_bytes"]) == ("to check", 1, 42)
    assert pd.isna(second["skew"])  # of tasks that took less than a millisecond
    assert run.jobs.to_dict("records")[0] == {"job": 0, "started": 3.0, "seconds": 7.5, "result": "JobSucceeded"}
    assert run.jobs.iloc[1].isna().tolist() == [False, False, True, True]
    assert run.executors["host"].tolist() == ["node-1", "node-2", "node-3"]
    assert run.executors["removed"].fillna(-1).tolist() == [-1, 10.0, -1]
    assert run.tasks.iloc[2].tolist() == [0, "2", 3.0, 6.0]


@pytest.mark.parametrize("place", ["<unknown>:0", "NativeMethodAccessorImpl.java:0"])
def test_a_stage_has_no_place_that_spark_does_not_know(tmp_path: Path, place: str) -> None:
    log = write_log(tmp_path / f"{ID}.zstd", [*EVENTS[:2], stage(0, f"count at {place}", 1, 2)])
    assert eventlog.read_event_log(log).stages["name"].tolist() == ["count"]


@pytest.mark.parametrize("cut", [1, 30])
def test_an_unfinished_log_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    padding = {"Event": "SparkListenerLogStart", "Spark Version": secrets.token_hex(6000)}
    log = write_log(tmp_path / f"{ID}.zstd.inprogress", [*EVENTS[:-1], padding])
    log.write_bytes(log.read_bytes()[:-cut])

    run = eventlog.read_event_log(log)

    assert (run.seconds, len(run.jobs)) == (11.0, 2)
    log.write_bytes(write_log(tmp_path / "x.zstd", EVENTS[:-3]).read_bytes())
    assert eventlog.read_event_log(log).stages["seconds"].tolist() == [6.5, 0.25]
    log.write_bytes(write_log(tmp_path / "x.zstd", EVENTS[:-4]).read_bytes())
    assert eventlog.read_event_log(log).stages["seconds"].tolist() == [6.5, 0.0]


def test_of_an_event_only_what_is_tabulated_stays_in_memory() -> None:
    ended = task(3, "1", 1, 2.5, run=1200, gc=7, remote=4, local=1, wrote=5, spilled=6)
    ended["Task Info"]["Accumulables"] = [{"ID": 1}] * 100
    others = [{"Event": "SparkListenerTaskStart"}, {"Event": "org.apache.spark.sql.Started"}]
    events = gather_events(json.dumps(event).encode() for event in [*others, ended, job(0, 1)])
    assert {kind: found for kind, found in events.items() if found} == {
        "TaskEnd": [(3, "1", at(1), at(2.5), False, 1.2, 0.007, 5, 5, 6)],
        "JobStart": [job(0, 1)],
    }


def test_a_log_without_tasks_is_read(tmp_path: Path) -> None:
    run = eventlog.read_event_log(write_log(tmp_path / f"{ID}.zstd", EVENTS[:2]))
    told = run.summarise()
    assert not plots.draw_spark(run, figure=Figure()).axes[0].patches
    assert (told["seconds"], told["tasks"], told["skew"], told["cores"]) == (0.0, 0, None, 0)


@pytest.mark.parametrize("content", [b"", b"no log", pa.compress(b'["x"]\n', codec="zstd", asbytes=True)])
def test_what_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zstd").write_bytes(content)
    with pytest.raises(FruitsError, match=r"x\.zstd holds no event log of Spark"):
        eventlog.read_event_log(tmp_path / "x.zstd")


def test_the_finished_log_of_an_application_is_found(tmp_path: Path) -> None:
    assert eventlog.find_log(tmp_path / "nothing", ID) is None
    for name in (f"{ID}1.zstd", f"{ID}_2.zstd.inprogress", f".{ID}.zstd.crc"):
        (tmp_path / name).touch()
    assert eventlog.find_log(tmp_path, ID) == tmp_path / f"{ID}_2.zstd.inprogress"
    (tmp_path / f"{ID}_1.zstd").touch()
    assert eventlog.find_log(tmp_path, ID) == tmp_path / f"{ID}_1.zstd"


def test_a_kept_log_holds_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    told = {"a": "a-secret-key", "b": "AKIAIOSFODNN7EXAMPLE", "c": "http://ada:pass@proxy:80"}
    properties = {"Event": "SparkListenerEnvironmentUpdate", "Spark Properties": told}
    log = write_log(tmp_path / "s" / f"{ID}_1.zstd", [*EVENTS, properties])

    kept = eventlog.keep_log(log, tmp_path / "kept", application=ID)

    *lines, last = eventlog.read_lines(kept)
    assert (kept.name, len(lines)) == (f"{ID}.zstd", len(EVENTS))
    found = json.loads(last)["Spark Properties"]
    assert found == {"a": "[redacted]", "b": "[redacted]", "c": "http://[redacted]@proxy:80"}
    assert eventlog.read_event_log(kept).summarise() == SUMMARY


def ask(spark: SparkSession, what: str) -> Any:
    context = spark.sparkContext
    address = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/{what}"
    return requests.get(address, timeout=30).json()


def test_the_tables_agree_with_the_rest_api_of_spark(spark: SparkSession, event_log: Path) -> None:
    context = spark.sparkContext
    context.setJobGroup("eventlog", "of this test")
    context.parallelize(range(1000), 4).map(lambda n: (n % 7, "x" * n)).groupByKey(3).mapValues(list).collect()
    context.broadcast(bytes(range(256)) * 40_000).value  # noqa: B018 - it is stored when it is made
    numbers = context.statusTracker().getJobIdsForGroup("eventlog")

    run = eventlog.read_running(spark, event_log)
    assert run

    jobs = {told["jobId"]: told for told in ask(spark, "jobs") if told["jobId"] in numbers}
    attempts = ask(spark, "stages")
    stages = {told["stageId"]: told for told in attempts if told["status"] == "COMPLETE"}
    of_jobs = sorted(number for told in jobs.values() for number in told["stageIds"])
    assert (len(jobs), len(of_jobs)) == (1, 2)
    assert set(numbers) <= set(run.jobs[run.jobs["result"] == "JobSucceeded"]["job"])
    for row in run.stages[run.stages["stage"].isin(of_jobs)].itertuples():
        told = stages[row.stage]
        assert row.tasks == told["numCompleteTasks"] == told["numTasks"]
        assert row.failed == told["numFailedTasks"] == 0
        assert round(1000 * row.task_seconds) == told["executorRunTime"]
        assert round(1000 * row.gc_seconds) == told["jvmGcTime"]
        assert row.shuffle_read_bytes == told["shuffleReadBytes"]
        assert row.shuffle_write_bytes == told["shuffleWriteBytes"]
        assert row.spilled_bytes == told["diskBytesSpilled"]
    (driver,) = ask(spark, "executors")
    summary = run.summarise()
    assert summary["shuffle_read_bytes"] == driver["totalShuffleRead"] > 0
    assert summary["shuffle_write_bytes"] == driver["totalShuffleWrite"]
    assert summary["tasks"] == driver["totalTasks"]  # killed ones of other tests, too
    assert summary["failed_tasks"] == driver["failedTasks"] + sum(told["numKilledTasks"] for told in attempts)
    assert (summary["executors"], summary["cores"]) == (1, driver["totalCores"])
    assert summary["application"] == context.applicationId
    assert summary["broadcast_bytes"] > 10_000
