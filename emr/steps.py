"""A run on the cluster: sent as a step, followed while it runs, its report fetched, its exit code ours."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from emr import cluster as clusters
from emr.bucket import LOGS, REPORTS
from emr.configurations import VENV
from emr.context import Context
from emr.costs import estimate_run, explain_count, format_money
from emr.request import Request
from emr.results import fetch_folder
from emr.shipment import ship_code
from fruits.errors import FruitsError, UsageError
from fruits.params import check_mode

GOING = ("PENDING", "RUNNING", "CANCEL_PENDING")
_EVERY = 10.0
_TAIL_BYTES = 4096
_LINES_OF_A_FAILURE = 25


def step_request(cluster: str, *, bucket: str, mode: str, run: str) -> Request:
    """Build the step: fetch `step.sh` from the bucket and run it; a failure leaves the cluster as it is."""
    url = f"s3://{bucket}"
    script = 'aws s3 cp --only-show-errors "$0/code/step.sh" step.sh && exec bash step.sh "$0" "$@"'
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", script, url, mode, run, VENV]}
    step = {"Name": f"fruits run {mode} ({run})", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    return Request("emr", "add_job_flow_steps", {"JobFlowId": cluster, "Steps": [step]})


def run_mode(context: Context, mode: str, *, every: float = _EVERY) -> int:
    """Run a mode on the cluster and return the exit code of `fruits run` there.

    Raises
    ------
    UsageError
        For a mode that does not exist, or if no cluster is ready.
    FruitsError
        If the run succeeded and yet left no report.
    """
    check_mode(mode)
    cluster, bucket = context.state.need("cluster", command="create-cluster"), context.bucket
    _check_ready(context, cluster)
    ship_code(context)
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{mode}-{uuid.uuid4().hex[:4]}"
    answer = context.account.send(step_request(cluster, bucket=bucket, mode=mode, run=run))
    if context.account.dry_run:
        return 0
    _say_prediction(context, mode)
    step = answer["StepIds"][0]
    context.say(f"Step {step}; its output: s3://{bucket}/{LOGS}runs/{run}/output.log")
    try:
        ended = follow(context, cluster, step, run=run, every=every)
    except KeyboardInterrupt:
        context.say(f"The step goes on without you, and so does the cluster: status, or {clusters.TERMINATE}")
        raise
    code = read_exit(context, run, state=ended["State"])
    if code:
        _say_failure(context, run, step=step, status=ended)
        return code
    folder = context.home / "reports" / "emr" / mode
    moved = fetch_folder(context, f"{REPORTS}emr/{mode}/", folder)
    if not moved.files:
        raise FruitsError(f"the run succeeded, but left no report in s3://{bucket}/{REPORTS}emr/{mode}/; see its log.")
    context.say(f"Report: {folder / 'run.html'} ({moved.files} files)")
    return 0


def _check_ready(context: Context, cluster: str) -> None:
    if context.account.dry_run:
        return
    state = clusters.describe(context, cluster)["Status"]["State"]
    if state not in clusters.READY:
        allowed = ", ".join(clusters.READY)
        raise UsageError(f"cluster {cluster} is {state}; allowed: {allowed}. See `status` or `create-cluster`.")


def _say_prediction(context: Context, mode: str) -> None:
    predicted = estimate_run(context.settings, mode)
    context.state.update(mode=mode, predicted_usd=round(predicted.total, 4))
    context.say(
        f"Predicted, start of the cluster included: {format_money(predicted.total, context.settings)}. "
        f"{explain_count(context.settings, mode)}".rstrip()
    )


def follow(context: Context, cluster: str, step: str, *, run: str, every: float) -> dict[str, Any]:
    """Watch a step until it ends, telling the last line of its output whenever there is a new one."""
    began, last = time.monotonic(), ""
    while True:
        request = Request("emr", "describe_step", {"ClusterId": cluster, "StepId": step})
        status: dict[str, Any] = (context.account.read(request) or {})["Step"]["Status"]
        line = last_line(read_output(context, run))
        told = f"{status['State']:<9} {line}"
        if told != last:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            context.say(f"{minutes:3d}:{seconds:02d} {told}")
            last = told
        if status["State"] not in GOING:
            return status
        time.sleep(every)


def read_output(context: Context, run: str, *, tail: int = _TAIL_BYTES) -> str:
    """Read the end of what a run has put out so far; empty if there is nothing yet."""
    key = f"{LOGS}runs/{run}/output.log"
    # Ranges of an empty object are refused, and the log begins empty.
    fine = ("NoSuchKey", "InvalidRange", "416")
    request = Request("s3", "get_object", {"Bucket": context.bucket, "Key": key, "Range": f"bytes=-{tail}"}, fine=fine)
    answer = context.account.read(request)
    return answer["Body"].read().decode("utf-8", errors="replace") if answer else ""


def last_line(output: str) -> str:
    """Return the last line with something in it; a progress bar's last state counts as one."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def read_exit(context: Context, run: str, *, state: str) -> int:
    """Return the exit code that the run left; without one, 0 for a completed step and 1 for any other."""
    key = f"{LOGS}runs/{run}/exit"
    request = Request("s3", "get_object", {"Bucket": context.bucket, "Key": key}, fine=("NoSuchKey",))
    answer = context.account.read(request)
    if answer is None:
        return 0 if state == "COMPLETED" else 1
    code = int(answer["Body"].read().strip() or 1)
    if (code == 0) != (state == "COMPLETED"):
        raise FruitsError(f"the run ended with exit code {code}, but EMR calls its step {state}; see the output.log.")
    return code


def _say_failure(context: Context, run: str, *, step: str, status: dict[str, Any]) -> None:
    output = read_output(context, run, tail=16 * _TAIL_BYTES).replace("\r", "\n").splitlines()
    for line in output[-_LINES_OF_A_FAILURE:]:
        context.say(f"  | {line}")
    reason = status.get("FailureDetails", {}).get("Message") or status.get("StateChangeReason", {}).get("Message", "")
    logs = f"s3://{context.bucket}/{LOGS}"
    context.say(
        f"The step is {status['State']}. {reason} All of its output: {logs}runs/{run}/; "
        f"EMR's own logs, some minutes later: {logs}{context.state.get('cluster')}/steps/{step}/. "
        f"The cluster goes on: mend it and repeat, or {clusters.TERMINATE}"
    )
