"""The events of Spark's event log, and tables of jobs, stages, tasks and executors made from them."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

STAGE_SUMS = ["task_seconds", "gc_seconds", "shuffle_read_bytes", "shuffle_write_bytes", "spilled_bytes"]
_TIMES: dict[str, type] = {"started": float, "seconds": float}
TASKS = ["stage", "executor", "started", "seconds"]
_EXECUTORS = ["executor", "host", "cores", "added", "removed"]
_JOBS = ["job", "started", "seconds", "result"]

_TASK_END = ["stage", "executor", "launched", "finished", "failed", *STAGE_SUMS]
_KINDS = frozenset({
    *("ApplicationStart", "ApplicationEnd", "BlockUpdated", "ExecutorAdded", "ExecutorRemoved", "JobStart", "JobEnd"),
    *("StageSubmitted", "StageCompleted", "TaskEnd"),
})  # fmt: skip
# How a line begins; Spark's History Server rests on it too.
_HEAD = re.compile(rb'\{"Event": ?"SparkListener(\w+)"')

# The events that are tabulated, by their kind, which Spark's JsonProtocol calls `SparkListener` and this name; times in
# ms. An event of TaskEnd is only the values of `_TASK_END`: whole, those of 200,000 tasks would take 3 GB.
Events = dict[str, list[Any]]


def gather_events(lines: Iterable[bytes]) -> Events:
    """Parse the lines of a log; those of other kinds are passed over."""
    events: Events = {kind: [] for kind in _KINDS}
    for line in lines:
        head = _HEAD.match(line)
        if head and (kind := head[1].decode()) in _KINDS:
            event = json.loads(line)
            events[kind].append(_pare_task(event) if kind == "TaskEnd" else event)
    return events


def _pare_task(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values of `_TASK_END`."""
    about, metrics = event["Task Info"], event.get("Task Metrics") or {}
    read, write = metrics.get("Shuffle Read Metrics", {}), metrics.get("Shuffle Write Metrics", {})
    return (
        *(event["Stage ID"], about["Executor ID"], about["Launch Time"], about["Finish Time"]),
        event["Task End Reason"]["Reason"] != "Success",
        *(metrics.get(name, 0) / 1000 for name in ("Executor Run Time", "JVM GC Time")),
        read.get("Remote Bytes Read", 0) + read.get("Local Bytes Read", 0),
        write.get("Shuffle Bytes Written", 0),
        metrics.get("Disk Bytes Spilled", 0),
    )


def since(begin: int, time: int) -> float:
    """Return the seconds from a time to a later one, both in milliseconds."""
    return round((time - begin) / 1000, 3)


def list_times(events: Events) -> Iterator[int]:
    """Yield the times at which something began or ended, in milliseconds."""
    for kind in ("ApplicationEnd", "ExecutorAdded", "ExecutorRemoved"):
        yield from (event["Timestamp"] for event in events[kind])
    yield from (event["Submission Time"] for event in events["JobStart"])
    yield from (event["Completion Time"] for event in events["JobEnd"])
    yield from (finished for _, _, _, finished, *_ in events["TaskEnd"])


def tabulate_jobs(events: Events, begin: int) -> "pd.DataFrame":
    """Return job, started, seconds and result."""
    import pandas as pd

    ends = {event["Job ID"]: event for event in events["JobEnd"]}
    rows = []
    for event in events["JobStart"]:
        job, at = event["Job ID"], event["Submission Time"]
        end = ends.get(job)
        took, result = (since(at, end["Completion Time"]), end["Job Result"]["Result"]) if end else (None, None)
        rows.append((job, since(begin, at), took, result))
    return pd.DataFrame(rows, columns=_JOBS).astype(_TIMES)


def tabulate_executors(events: Events, begin: int) -> "pd.DataFrame":
    """Return executor, host, cores, added and removed."""
    import pandas as pd

    gone = {event["Executor ID"]: since(begin, event["Timestamp"]) for event in events["ExecutorRemoved"]}
    rows = []
    for event in events["ExecutorAdded"]:
        name, about = event["Executor ID"], event["Executor Info"]
        rows.append((name, about["Host"], about["Total Cores"], since(begin, event["Timestamp"]), gone.get(name)))
    return pd.DataFrame(rows, columns=_EXECUTORS).astype({"removed": float})


def tabulate_tasks(events: Events, begin: int) -> "pd.DataFrame":
    """Return a row for each task, with what `SparkRun.stages` adds up."""
    import pandas as pd

    types = dict.fromkeys(["launched", "finished", *STAGE_SUMS], float) | {"failed": bool}
    tasks = pd.DataFrame(events["TaskEnd"], columns=_TASK_END).astype(types)
    started, seconds = tasks["launched"] - begin, tasks["finished"] - tasks["launched"]
    return tasks.assign(started=(started / 1000).round(3), seconds=(seconds / 1000).round(3))


def tabulate_stages(events: Events, tasks: "pd.DataFrame", *, begin: int, end: int) -> "pd.DataFrame":
    """Return the columns of `SparkRun.stages`, from all tasks; `end` is for stages that have not ended."""
    import pandas as pd

    spans: dict[int, dict[str, Any]] = {}
    for event in [*events["StageSubmitted"], *events["StageCompleted"]]:
        about = event["Stage Info"]
        at, until = about.get("Submission Time", end), about.get("Completion Time")
        span = spans.setdefault(about["Stage ID"], {"name": _name_stage(event), "started": at, "until": end})
        span["started"] = min(span["started"], at)
        if until:
            span["until"] = until
    rows = [
        (stage, span["name"], since(begin, span["started"]), since(span["started"], span["until"]))
        for stage, span in sorted(spans.items())
    ]
    stages = pd.DataFrame(rows, columns=["stage", "name", "started", "seconds"]).astype(_TIMES).set_index("stage")
    by_stage, good = tasks.groupby("stage"), tasks[~tasks["failed"]].groupby("stage")["seconds"]
    stages = stages.join(by_stage.size().rename("tasks")).join(by_stage[["failed", *STAGE_SUMS]].sum())
    whole = ["tasks", "failed", *STAGE_SUMS[2:]]
    stages = stages.fillna(dict.fromkeys([*whole, *STAGE_SUMS[:2]], 0)).astype(dict.fromkeys(whole, int))
    stages = stages.join(good.max().rename("longest")).join(good.median().rename("median"))
    # A task of less than a millisecond takes 0 seconds.
    skew = (stages["longest"] / stages["median"].where(stages["median"] > 0)).rename("skew")
    return stages.join(skew).round(3).reset_index()


def _name_stage(event: dict[str, Any]) -> str:
    """Return the description that the program gave, else the call, with its place in the program if that is known."""
    if described := (event.get("Properties") or {}).get("spark.job.description"):
        return str(described)
    name = str(event["Stage Info"]["Stage Name"])
    call, _, place = name.partition(" at ")
    known = place and not place.startswith(("<unknown>", "NativeMethodAccessorImpl."))
    return f"{call} at {place.rpartition('/')[2]}" if known else call


def measure_broadcasts(events: Events) -> int:
    """Return the bytes of all broadcasts, each once."""
    sizes: dict[str, int] = {}
    for event in events["BlockUpdated"]:
        block = event["Block Updated Info"]
        if block["Block ID"].startswith("broadcast_"):
            size = block["Memory Size"] + block["Disk Size"]
            sizes[block["Block ID"]] = max(size, sizes.get(block["Block ID"], 0))
    # Beside its pieces a broadcast is stored as the object that they make.
    return sum(size for name, size in sizes.items() if "_piece" in name)
