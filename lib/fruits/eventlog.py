"""Spark's event log: the settings that keep one, and tables of what it holds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fruits import folders
from fruits.errors import FruitsError
from fruits.events import (
    STAGE_SUMS,
    TASKS,
    gather_events,
    list_times,
    measure_broadcasts,
    since,
    tabulate_executors,
    tabulate_jobs,
    tabulate_stages,
    tabulate_tasks,
)
from fruits.redaction import redact_secrets

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

# In a report's folder.
FOLDER, STAGES, EXECUTORS, PICTURE = "spark", "stages.csv", "executors.csv", "spark.png"
UNFINISHED = ".inprogress"
_CODEC = "zstd"
# What is lost of a log whose last frame is not finished.
_PIECE = 4096


@dataclass(frozen=True, kw_only=True)
class SparkRun:
    """What one application did, from its event log; all times in seconds since it started.

    Attributes
    ----------
    application, event_log
        Its id, and the name of the log's file.
    seconds
        Until it ended, or until the last event of a log that has no end.
    broadcast_bytes
        All broadcasts, each once, as Spark stores them: compressed. 0 if block updates are not logged.
    jobs
        job, started, seconds, result; seconds and result are missing for a job that has not ended.
    stages
        stage, name, started, seconds, tasks, failed, task_seconds, gc_seconds, shuffle_read_bytes,
        shuffle_write_bytes, spilled_bytes (on disk), longest, median, skew. All attempts of a stage are one row;
        `tasks` counts each attempt of a task, `failed` those without success. `task_seconds` is the time in which
        executors computed; `longest`, `median` and `skew` (longest / median) are of the tasks that succeeded, from
        start to end.
    tasks
        stage, executor, started, seconds: a row for each attempt of a task that has ended.
    executors
        executor, host, cores, added, removed; the last is missing for those that stayed.
    """

    application: str
    event_log: str
    seconds: float
    broadcast_bytes: int
    jobs: "pd.DataFrame"
    stages: "pd.DataFrame"
    tasks: "pd.DataFrame"
    executors: "pd.DataFrame"

    def summarise(self) -> dict[str, Any]:
        """Return the main figures for the manifest.

        `skew` is that of the stage whose tasks took longest together, `executors` and `cores` are the most at one time.
        """
        sums = self.stages[STAGE_SUMS].sum()
        busiest = self.stages.sort_values("task_seconds", kind="stable")["skew"].tail(1)
        there = [
            self.executors[(self.executors["added"] <= time) & ~(self.executors["removed"] <= time)]
            for time in self.executors["added"]
        ]
        return {
            "application": self.application,
            "event_log": self.event_log,
            "jobs": len(self.jobs),
            "stages": len(self.stages),
            "tasks": len(self.tasks),
            "failed_tasks": int(self.stages["failed"].sum()),
            "seconds": self.seconds,
            **{name: round(float(sums[name]), 3) for name in STAGE_SUMS[:2]},
            **{name: int(sums[name]) for name in STAGE_SUMS[2:]},
            "skew": round(float(busiest.iloc[0]), 2) if busiest.notna().any() else None,
            "executors": max(map(len, there), default=0),
            "cores": max((int(table["cores"].sum()) for table in there), default=0),
            "broadcast_bytes": self.broadcast_bytes,
        }


def choose_settings(folder: Path) -> dict[str, str]:
    """Return the settings with which Spark keeps the log of a run in a local folder, which must exist."""
    return {
        "spark.eventLog.enabled": "true",
        # Escaped, unlike all other addresses for Spark: this one it parses.
        "spark.eventLog.dir": folder.absolute().as_uri(),
        "spark.eventLog.compress": "true",
        "spark.eventLog.compression.codec": _CODEC,
        # Spark 4 would begin a new file every 128 MB.
        "spark.eventLog.rolling.enabled": "false",
        # Only they hold the size of a broadcast.
        "spark.eventLog.logBlockUpdates.enabled": "true",
    }


def find_log(folder: Path, application: str) -> Path | None:
    """Return the log of an application in a folder, here or in S3: the finished one, else the unfinished."""
    # A cluster adds the attempt to the name, and says how it compresses by the suffix.
    pattern = rf"{re.escape(application)}(_\d+)?(\.{_CODEC})?({re.escape(UNFINISHED)})?"
    found = [name for name in folders.as_folder(folder).list_files() if re.fullmatch(pattern, name)]
    found.sort(key=lambda name: (name.endswith(UNFINISHED), name))
    return folder / found[0] if found else None


def read_event_log(path: Path) -> SparkRun:
    """Read a log, of Spark 3.5 or 4, compressed by zstd or not at all; it may be unfinished."""
    try:
        events = gather_events(read_lines(path))
        (started,) = events["ApplicationStart"]
    except (ValueError, LookupError, TypeError) as error:
        raise FruitsError(f"{path} holds no event log of Spark; allowed: one file, compressed by zstd.") from error
    begin = started["Timestamp"]
    end = max(list_times(events), default=begin)
    tasks = tabulate_tasks(events, begin)
    return SparkRun(
        application=started["App ID"],
        event_log=path.name.removesuffix(UNFINISHED),
        seconds=since(begin, end),
        broadcast_bytes=measure_broadcasts(events),
        jobs=tabulate_jobs(events, begin),
        stages=tabulate_stages(events, tasks, begin=begin, end=end),
        tasks=tasks[TASKS],
        executors=tabulate_executors(events, begin),
    )


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a log, whose last frame and last line may be unfinished."""
    import pyarrow as pa

    rest = b""
    with path.open("rb") as file:
        compressed = f".{_CODEC}" in path.suffixes
        stream = pa.CompressedInputStream(file, _CODEC) if compressed else file
        while True:
            try:
                piece = stream.read(_PIECE)
            except OSError:  # the end of an unfinished frame
                return
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines


def keep_log(source: Path, folder: Path, *, application: str) -> Path:
    """Write a log without secrets into a folder, and return the new file; the source may be in S3."""
    import pyarrow as pa

    kept = folder / f"{application}.{_CODEC}"
    draft = kept.with_name(f".{kept.name}.draft")
    folder.mkdir(parents=True, exist_ok=True)
    with pa.CompressedOutputStream(draft, _CODEC) as stream:
        for line in read_lines(source):
            stream.write(redact_secrets(line.decode(errors="replace")).encode() + b"\n")
    draft.replace(kept)
    return kept


def find_place(spark: "SparkSession") -> str | None:
    """Return the address of the folder in which a session keeps its log; None if it keeps none."""
    conf = spark.sparkContext.getConf()
    kept = str(conf.get("spark.eventLog.enabled", "false")).lower() == "true"
    return conf.get("spark.eventLog.dir") if kept else None


def read_running(spark: "SparkSession", folder: Path | None) -> SparkRun | None:
    """Read the log that a running session keeps in a folder, up to now; None if it cannot be read before its end."""
    context = spark.sparkContext
    if not (folder and find_place(spark) and (log := find_log(folder, context.applicationId))):
        return None
    context._jsc.sc().listenerBus().waitUntilEmpty()
    try:
        return read_event_log(log)
    except FruitsError:  # not one frame is written
        return None
