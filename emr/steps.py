"""A run on the cluster: sent as a step, followed while it runs, its report fetched, its exit code ours."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from emr import stacks
from emr.cluster import TERMINATE, VENV, list_nodes, need_ready
from emr.context import LOGS, REPORTS, SETUP, Context
from emr.costs import Cost, count_up, estimate_run, format_money
from emr.results import fetch
from emr.shipment import ship_code
from fruits.aws import read_code
from fruits.errors import FruitsError, strip_controls
from fruits.folders import write_bytes
from fruits.ownership import CLUSTER
from fruits.params import check_mode

_GOING = ("PENDING", "RUNNING", "CANCEL_PENDING")
_ROLES = {"MASTER": "primary", "CORE": "core", "TASK": "task"}
_TAIL_BYTES = 16384
_LINES_OF_A_FAILURE = 25
_EVERY = 10.0


def build_step(*, bucket: str, mode: str, run: str) -> dict[str, Any]:
    """Build the step: fetch `step.sh` from the bucket and run it; a failure leaves the cluster as it is."""
    script = 'aws s3 cp --only-show-errors "$0/code/step.sh" step.sh && exec bash step.sh "$0" "$@"'
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", script, f"s3://{bucket}", mode, run, VENV]}
    return {"Name": f"fruits run {mode} ({run})", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}


def run_mode(context: Context, mode: str) -> int | dict[str, Any]:
    """Run MODE on the cluster, or follow the run that is alive, and fetch its report; exit as it exits."""
    check_mode(mode)
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{mode}-{uuid.uuid4().hex[:4]}"
    request = build_step(bucket=context.bucket, mode=mode, run=run)
    if context.dry_run:
        return {"step": request}
    found = need_ready(context)
    cluster = found["Id"]
    going = find_step(context, cluster, mode)
    if going is None:
        predicted = format_money(estimate_run(context.settings, mode).total, context.settings)
        context.say(f"Predicted, start of the cluster included: {predicted}.")
        ship_code(context)
    try:
        if going is None:
            # Sent once: EMR knows no token that makes a repeated request one.
            sent = context.client("emr", once=True).add_job_flow_steps(JobFlowId=cluster, Steps=[request])
            going = sent["StepIds"][0], run
        step = _follow(context, cluster, *going)
    except BaseException as error:
        if going is None and read_code(error):  # refused: nothing started
            raise
        context.say(
            f"The step may have started and goes on, whatever happened here. Follow it again: {SETUP} run {mode}; "
            f"or, if it has ended, {SETUP} download-results; end it and the cluster, which costs money: {TERMINATE}"
        )
        raise
    code = _finish(context, mode, step["Status"], run=going[1])
    if code == 0:
        folder = context.home / "reports" / "emr" / mode
        facts = describe_run(context, found, step, mode=mode, run=going[1])
        write_bytes(folder / CLUSTER, (json.dumps(facts, indent=2) + "\n").encode())
        context.say(f"Report: {folder / 'run.html'}")
    return code


def find_step(context: Context, cluster: str, mode: str) -> tuple[str, str] | None:
    """Return id and run of a step of this mode that is alive."""
    pages = context.client("emr").get_paginator("list_steps").paginate(ClusterId=cluster, StepStates=list(_GOING))
    for entry in (entry for page in pages for entry in page["Steps"]):
        if entry["Name"].startswith(f"fruits run {mode} ("):
            return entry["Id"], entry["Name"].partition("(")[2].rstrip(")")
    return None


def _follow(context: Context, cluster: str, name: str, run: str) -> dict[str, Any]:
    """Watch a step until it ends, telling the last line of its output whenever there is a new one."""
    context.say(f"Step {name}; its output: s3://{context.bucket}/{LOGS}runs/{run}/output.log")
    began, last = time.monotonic(), ""
    while True:
        answer = context.client("emr").describe_step(ClusterId=cluster, StepId=name)
        step: dict[str, Any] = answer["Step"]
        state = step["Status"]["State"]
        lines = _read_lines(context, run)
        told = f"{state:<9} {lines[-1][:160] if lines else ''}"
        if told != last:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            context.say(f"{minutes:3d}:{seconds:02d} {told}")
            last = told
        if state not in _GOING:
            return step
        time.sleep(_EVERY)


def _finish(context: Context, mode: str, status: dict[str, Any], *, run: str) -> int:
    completed = status["State"] == "COMPLETED"
    code = int(_read(context, run, "exit") or not completed)
    if (code == 0) != completed:
        raise FruitsError(f"the run ended with exit code {code}, but EMR calls its step {status['State']}.")
    if code:
        for line in _read_lines(context, run)[-_LINES_OF_A_FAILURE:]:
            context.say(f"  | {line}")
        reason = strip_controls(status.get("FailureDetails", {}).get("Message", ""))
        context.say(f"The step is {status['State']}. {reason} The cluster goes on: mend it and repeat, or {TERMINATE}")
    elif not fetch(context, f"{REPORTS}emr/{mode}/"):
        raise FruitsError(f"the run left no report in s3://{context.bucket}/{REPORTS}emr/{mode}/; see its output.")
    return code


def describe_run(
    context: Context, cluster: dict[str, Any], step: dict[str, Any], *, mode: str, run: str
) -> dict[str, Any]:
    """Describe the cluster as it is at the end of a step: nodes, times (ISO 8601, UTC), cost beside the estimate."""
    settings, stack, times = context.settings, stacks.find(context, "cluster"), step["Status"]["Timeline"]
    began, ended = times.get("StartDateTime") or times["CreationDateTime"], times.get("EndDateTime")
    ended = ended or datetime.now(UTC)
    minutes = round((ended - began).total_seconds() / 60, 2)
    spent = count_up(list_nodes(context, cluster), settings, now=ended)
    return {
        "id": cluster["Id"],
        "name": cluster["Name"],
        "release": cluster["ReleaseLabel"],
        "region": settings.region,
        "zone": cluster["Ec2InstanceAttributes"]["Ec2AvailabilityZone"],
        "bucket": context.bucket,
        "created": _format_time(cluster["Status"]["Timeline"]["CreationDateTime"]),
        "step": {
            "id": step["Id"],
            "run": run,
            "started": _format_time(began),
            "ended": _format_time(ended),
            "minutes": minutes,
        },
        "nodes": _describe_nodes(context, cluster["Id"]),
        "cost": _price(context, spent) | {"prices": str(settings.prices["date"])},
        "estimate": _price(context, estimate_run(settings, mode)),
        "idle_minutes": int(stack.parameters["IdleMinutes"]) if stack else None,
        "encryption": _describe_encryption(context, cluster["SecurityConfiguration"]),
    }


def _describe_nodes(context: Context, cluster: str) -> list[dict[str, Any]]:
    pages = context.client("emr").get_paginator("list_instance_groups").paginate(ClusterId=cluster)
    groups = {group["InstanceGroupType"]: group for page in pages for group in page["InstanceGroups"]}
    return [
        {
            "role": role,
            "type": groups[kind]["InstanceType"],
            "market": groups[kind]["Market"],
            "count": groups[kind]["RunningInstanceCount"],
        }
        for kind, role in _ROLES.items()
        if kind in groups and groups[kind]["RunningInstanceCount"]
    ]


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _price(context: Context, cost: Cost) -> dict[str, Any]:
    amount = cost.total * context.settings.prices["eur_per_usd"]
    return {"amount": round(amount, 4), "currency": "EUR", "minutes": round(cost.minutes, 1)}


def _describe_encryption(context: Context, security: str) -> dict[str, Any]:
    """Describe what is encrypted how, as AWS says of the bucket and of the cluster's security configuration."""
    bucket = context.client("s3").get_bucket_encryption(Bucket=context.bucket)["ServerSideEncryptionConfiguration"]
    answer = context.client("emr").describe_security_configuration(Name=security)
    nodes = json.loads(answer["SecurityConfiguration"])["EncryptionConfiguration"]
    rest = nodes["AtRestEncryptionConfiguration"]
    return {
        "bucket": bucket["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
        "objects": rest["S3EncryptionConfiguration"]["EncryptionMode"],
        "disks": rest["LocalDiskEncryptionConfiguration"]["EncryptionKeyProviderType"],
        "between_nodes": nodes["EnableInTransitEncryption"],
    }


def _read_lines(context: Context, run: str) -> list[str]:
    """Return the last lines of what a run has put out so far; a progress bar's last state counts as one."""
    output = strip_controls(_read(context, run, "output.log").replace("\r", "\n"))
    return [line.strip() for line in output.splitlines() if line.strip()]


def _read(context: Context, run: str, name: str) -> str:
    """Read the end of a file that a run left in the bucket; empty if there is none, or nothing in it, yet."""
    from botocore.exceptions import ClientError

    key = f"{LOGS}runs/{run}/{name}"
    try:
        answer = context.client("s3").get_object(Bucket=context.bucket, Key=key, Range=f"bytes=-{_TAIL_BYTES}")
    except ClientError as error:
        # Ranges of an empty object are refused, and the log begins empty.
        if read_code(error) not in ("NoSuchKey", "InvalidRange", "416"):
            raise
        return ""
    return str(answer["Body"].read().decode("utf-8", errors="replace")).strip()
