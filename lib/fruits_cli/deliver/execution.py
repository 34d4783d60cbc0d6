"""Deliverable 2: the machine or the cluster, what Spark did, software and parameters."""

from typing import Any

import pandas as pd

from fruits import eventlog
from fruits.redaction import redact_secrets
from fruits_cli.deliver.blocks import Block, Words, make_facts, make_section, make_table, make_text
from fruits_cli.deliver.facts import Run

_STAGES = 24
_MACHINE = {"local_platform": "{versions.platform}", "local_master": "{params.spark_master}"}
_CLUSTER = {
    "aws_cluster": "{cluster.name}, {cluster.id}",
    "aws_release": "{cluster.release}",
    "aws_region": "{cluster.region}, {cluster.zone}",
    "aws_bucket": "s3:{slashes}{cluster.bucket}",
    "aws_created": "{cluster.created:moment}",
    "aws_step": "{cluster.step.id}",
    "aws_run": "{cluster.step.run}",
    "aws_started": "{cluster.step.started:moment}",
    "aws_ended": "{cluster.step.ended:moment}",
    "aws_minutes": "{cluster.step.minutes:minutes}",
    "aws_cost": "{cluster.cost:money}, {cluster.cost.minutes:minutes}",
    "aws_prices": "{cluster.cost.prices:date}",
    "aws_estimate": "{cluster.estimate:money}, {cluster.estimate.minutes:minutes}",
    "aws_idle": "{cluster.idle_minutes:minutes}",
}
_ENCRYPTION = {
    "aws_encrypted_bucket": "{cluster.encryption.bucket}",
    "aws_objects": "{cluster.encryption.objects}",
    "aws_disks": "{cluster.encryption.disks}",
}
_SPARK = {
    "spark_application": "{spark.application}",
    "spark_log": "{spark.event_log}",
    "spark_seconds": "{spark.seconds:seconds}",
    "spark_counts": "{spark.jobs:count} / {spark.stages:count} / {spark.tasks:count}",
    "spark_failed": "{spark.failed_tasks:count}",
    "spark_tasks": "{spark.task_seconds:seconds}",
    "spark_gc": "{spark.gc_seconds:seconds}",
    "spark_shuffle": "{spark.shuffle_read_bytes:bytes} / {spark.shuffle_write_bytes:bytes}",
    "spark_spilled": "{spark.spilled_bytes:bytes}",
    "spark_skew": "{spark.skew:places}",
    "spark_executors": "{spark.executors:count} / {spark.cores:count}",
    "spark_broadcast": "{spark.broadcast_bytes:bytes}",
}


def describe_machine(run: Run, words: Words) -> Block:
    """Show the bucket and the cluster as they were; of a run without AWS say so, and name the machine."""
    if run.cluster is None:
        remote = run.manifest["params"]["target"] == "emr"
        title, said = ("aws", "unknown_cluster") if remote else ("local", "local_said")
        return make_section(words(title), make_text(words(said), kind="notice"), words.list_facts(_MACHINE))
    nodes = [
        [words(f"role_{node['role']}"), node["type"], words(f"market_{node['market']}"), str(node["count"])]
        for node in run.cluster["nodes"]
    ]
    header = [words(f"aws_{name}") for name in ("role", "type", "market", "count")]
    between = "between_yes" if run.cluster["encryption"]["between_nodes"] else "between_no"
    return make_section(
        words("aws"),
        words.list_facts(_CLUSTER),
        make_text(words("aws_nodes"), kind="heading"),
        make_table(header, nodes, right=(3,)),
        make_text(words("aws_encryption"), kind="heading"),
        words.list_facts(_ENCRYPTION | {"aws_between": words(between)}),
        page=True,
    )


def describe_spark(run: Run, words: Words) -> Block:
    """Show what Spark's event log says: totals, stages over time, the longest stages, executors."""
    totals = run.manifest.get("spark")
    if not totals:
        return make_section(words("spark"), make_text(words("no_spark"), kind="notice"))
    stages, executors = run.read_spark(eventlog.STAGES), run.read_spark(eventlog.EXECUTORS)
    return make_section(
        words("spark"),
        words.list_facts(_SPARK),
        *(_show_stages(stages, totals["seconds"], words) if len(stages) else ()),
        *(_show_executors(executors, words) if len(executors) else ()),
    )


def _show_stages(stages: pd.DataFrame, seconds: float, words: Words) -> list[Block | None]:
    form = words.language.format
    longest = stages.nlargest(_STAGES, "seconds").sort_values("started")
    bars, rows = [], []
    for row in longest.to_dict("records"):
        ends = row["started"], row["started"] + row["seconds"]
        bars.append({"label": str(row["stage"]), "from": ends[0] / seconds, "to": ends[1] / seconds})
        times = [form(row[name], "decimal") for name in ("started", "seconds")]
        shuffled = form(row["shuffle_read_bytes"] + row["shuffle_write_bytes"], "bytes")
        tasks = [form(row["tasks"], "count"), form(row["task_seconds"], "decimal")]
        rows.append([str(row["stage"]), str(row["name"]), *times, *tasks, shuffled, form(row["skew"], "decimal")])
    names = ("", "_name", "_started", "_seconds", "_tasks", "_task_seconds", "_shuffle", "_skew")
    ticks = [form(seconds * part / 4, "count") for part in range(5)]
    few = words("spark_longest", shown=len(longest), stages=len(stages))
    return [
        make_text(words("spark_time"), kind="heading"),
        make_text(words("spark_time_said"), kind="above"),
        {"kind": "timeline", "bars": bars, "ticks": ticks},
        make_text(words("spark_stages"), kind="heading"),
        make_text(few, kind="above") if len(longest) < len(stages) else None,
        make_table([words(f"stage{name}") for name in names], rows, right=(0, 2, 3, 4, 5, 6, 7)),
    ]


def _show_executors(executors: pd.DataFrame, words: Words) -> list[Block]:
    def seconds(value: Any) -> str:
        """Write a time; an executor that was never removed has none."""
        return "" if value == "" or value != value else words.language.format(float(value), "decimal")

    rows = [
        [
            row["executor"],
            row["host"],
            words.language.format(row["cores"], "count"),
            *map(seconds, (row["added"], row["removed"])),
        ]
        for row in executors.astype({"executor": str}).to_dict("records")
    ]
    header = [words(f"executor{name}") for name in ("", "_host", "_cores", "_added", "_removed")]
    return [make_text(words("executors"), kind="heading"), make_table(header, rows, right=(2, 3, 4))]


def describe_software(run: Run, words: Words) -> Block:
    """List versions and parameters, as the manifest has them."""
    versions = [(name, value) for name, value in run.manifest["versions"].items() if value]
    params = [(name, redact_secrets(_spell(value))) for name, value in run.manifest["params"].items()]
    return make_section(
        words("software"),
        make_text(words("versions"), kind="heading"),
        make_facts(versions, dense=True),
        make_text(words("parameters"), kind="heading"),
        make_facts(params, dense=True),
    )


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
