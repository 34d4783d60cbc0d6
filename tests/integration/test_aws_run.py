"""`run`: the step that is sent, followed to its end; moto leaves steps running for ever, so its end is played here."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.endpoint import Endpoint
from botocore.exceptions import ReadTimeoutError
from cloud import BUCKET, Cloud, patch_call
from emr import steps
from emr.settings import load_settings
from emr.steps import build_step

from fruits import ownership

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


@contextmanager
def played(cloud: Cloud, *, state: str, code: str | None, output: str = "") -> Iterator[list[dict[str, Any]]]:
    """Be the primary node: once the step is followed, put out lines, leave an exit code, end the step."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.emr.models import emr_backends

    seen: list[dict[str, Any]] = []
    backend, s3 = emr_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"], cloud.client("s3")
    followed, over, follow = threading.Event(), threading.Event(), steps._follow

    def announce(*arguments: Any) -> dict[str, Any]:
        followed.set()
        return follow(*arguments)

    def play() -> None:
        while not followed.wait(0.02):
            if over.is_set():
                return
        step = backend.clusters[cloud.cluster_id].steps[-1]
        seen.append(step.config)
        run = step.hadoop_jar_step["Args"][-2]
        for line in output.splitlines():
            s3.put_object(Bucket=BUCKET, Key=f"logs/runs/{run}/output.log", Body=f"{line}\n".encode())
            time.sleep(0.15)
        if code is not None:
            s3.put_object(Bucket=BUCKET, Key=f"logs/runs/{run}/exit", Body=f"{code}\n".encode())
        step.start_date_time = datetime.now(UTC)
        step.end_date_time = step.start_date_time + timedelta(minutes=6)
        step.state = state

    node = threading.Thread(target=play, daemon=True)
    node.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "_follow", announce)
            yield seen
    finally:
        over.set()
        node.join(timeout=10)


def test_a_run_is_followed_and_its_report_fetched(with_cluster: Cloud) -> None:
    with_cluster.client("s3").put_object(Bucket=BUCKET, Key="reports/emr/MINI/run.html", Body=b"<html>")
    with played(with_cluster, state="COMPLETED", code="0", output="starting\nimages:  50%|##") as seen:
        done = with_cluster.run("run", "MINI")
    assert done.code == 0
    assert "Predicted, start of the cluster included" in done.out
    assert "images:  50%|##" in done.out
    assert (with_cluster.home / "reports/emr/MINI/run.html").read_bytes() == b"<html>"
    assert seen[0]["HadoopJarStep"]["Args"][3] == f"s3://{BUCKET}"
    # What runs is what is here now: the code was sent again.
    assert "code/repository.zip" in with_cluster.keys("code/")


def test_a_run_leaves_the_cluster_and_its_cost_beside_the_report(with_cluster: Cloud) -> None:
    folder, file = with_cluster.home / "reports/emr/MINI", with_cluster.home / "reports/emr/MINI/cluster.json"
    s3, settings = with_cluster.client("s3"), load_settings()
    owner = {"kind": "report", "target": "emr", "input_dir": "x", "run_id": "1", "files": {"run.html": "0"}}
    for name, body in {"run.html": b"<html>", "run.json": json.dumps(owner).encode()}.items():
        s3.put_object(Bucket=BUCKET, Key=f"reports/emr/MINI/{name}", Body=body)
    with played(with_cluster, state="COMPLETED", code="0"):
        assert with_cluster.run("run", "MINI").code == 0
    told = json.loads(file.read_text())
    cluster = with_cluster.cluster()
    created = cluster["Status"]["Timeline"]["CreationDateTime"]
    assert (told["id"], told["bucket"], told["region"]) == (with_cluster.cluster_id, BUCKET, "eu-west-1")
    assert (told["name"], told["release"], told["zone"]) == ("fruits", settings.release, "eu-west-1a")
    assert datetime.fromisoformat(told["created"]) == created.replace(microsecond=0)
    times = [datetime.fromisoformat(told["step"][name]) for name in ("started", "ended")]
    assert times[1] - times[0] == timedelta(minutes=told["step"]["minutes"]) == timedelta(minutes=6)
    assert told["step"]["run"].split("-")[2] == "MINI"
    on_demand = {"type": "m5.xlarge", "market": "ON_DEMAND"}
    assert told["nodes"] == [{"role": "primary", "count": 1, **on_demand}, {"role": "core", "count": 2, **on_demand}]
    # By hand: three m5.xlarge with a public address and 64 GB each.
    minutes, eur = told["cost"]["minutes"], settings.prices["eur_per_usd"]
    hour = 3 * (0.214 + 0.048 + 0.005 + 64 * 0.088 / 730)
    assert 6 <= minutes < 7
    assert told["cost"]["amount"] == pytest.approx(hour * minutes / 60 * eur, abs=0.001)
    assert (told["cost"]["currency"], told["cost"]["prices"]) == ("EUR", "2025-03-02")
    assert told["estimate"]["minutes"] > settings.speed["start_minutes"]
    assert told["idle_minutes"] == 30
    assert told["encryption"] == {"bucket": "AES256", "objects": "SSE-S3", "disks": "AwsKms", "between_nodes": False}
    # It stays, and does not keep a later run from replacing the report.
    before = file.stat().st_mtime_ns
    assert with_cluster.run("download-results", "MINI").code == 0
    assert file.stat().st_mtime_ns == before
    assert ownership.find_foreign(folder, ownership.REPORT) == []


@pytest.mark.parametrize(("code", "expected"), [("1", 1), ("2", 2), (None, 1)])
def test_a_failed_run_exits_as_it_did_there(with_cluster: Cloud, code: str | None, expected: int) -> None:
    with played(with_cluster, state="FAILED", code=code, output="fruits: no folder s3://x"):
        done = with_cluster.run("run", "MINI")
    assert done.code == expected
    assert "  | fruits: no folder s3://x" in done.out
    assert "The cluster goes on" in done.out
    assert "scripts/aws_setup.sh terminate" in done.out
    assert not (with_cluster.home / "reports/emr").exists()


def test_a_step_that_runs_already_is_followed_and_none_is_sent(with_cluster: Cloud) -> None:
    emr, cluster = with_cluster.client("emr"), with_cluster.cluster_id
    step = build_step(bucket=BUCKET, mode="MINI", run="earlier")
    emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])
    with played(with_cluster, state="FAILED", code="1", output="\x1b[31mred\x1b[0m"):
        done = with_cluster.run("run", "MINI")
    assert done.code == 1
    assert "logs/runs/earlier/output.log" in done.out
    assert "  | red" in done.out
    assert "\x1b" not in done.out
    assert len(emr.list_steps(ClusterId=cluster)["Steps"]) == 1


def test_a_run_that_is_followed_again_leaves_its_cluster_too(with_cluster: Cloud) -> None:
    step = build_step(bucket=BUCKET, mode="MINI", run="earlier")
    with_cluster.client("emr").add_job_flow_steps(JobFlowId=with_cluster.cluster_id, Steps=[step])
    with_cluster.client("s3").put_object(Bucket=BUCKET, Key="reports/emr/MINI/run.html", Body=b"<html>")
    with played(with_cluster, state="COMPLETED", code="0"):
        assert with_cluster.run("run", "MINI").code == 0
    told = json.loads((with_cluster.home / "reports/emr/MINI/cluster.json").read_text())
    assert told["step"]["run"] == "earlier"


@pytest.mark.parametrize(("operation", "goes_on"), [("DescribeStep", True), ("AddJobFlowSteps", False)])
def test_keys_that_expire_do_not_hide_whether_a_step_goes_on(
    with_cluster: Cloud, operation: str, goes_on: bool
) -> None:
    with patch_call(operation, "ExpiredTokenException", "late"):
        done = with_cluster.run("run", "MINI")
    assert done.code == 1
    assert ("The step may have started and goes on" in done.out) == goes_on
    assert ("Follow it again: scripts/aws_setup.sh run MINI" in done.out) == goes_on
    assert "log in again" in done.err


def test_a_request_for_a_step_is_sent_once(with_cluster: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    call = Endpoint._do_get_response

    def fail(self: Any, request: Any, operation: Any, context: Any) -> Any:
        if operation.name != "AddJobFlowSteps":
            return call(self, request, operation, context)
        sent.append(request.url)
        return None, ReadTimeoutError(endpoint_url=request.url)

    monkeypatch.setattr(Endpoint, "_do_get_response", fail)
    done = with_cluster.run("run", "MINI")
    assert (done.code, len(sent)) == (1, 1)
    assert "The step may have started" in done.out


def test_a_code_that_emr_contradicts_is_no_success_and_a_cluster_that_is_over_is_refused(with_cluster: Cloud) -> None:
    with played(with_cluster, state="FAILED", code="0"):
        done = with_cluster.run("run", "MINI")
    assert done.code == 1
    assert "EMR calls its step FAILED" in done.err
    with_cluster.client("emr").terminate_job_flows(JobFlowIds=[with_cluster.cluster_id])
    done = with_cluster.run("run", "MINI")
    assert done.code == 2
    assert "allowed: RUNNING, WAITING" in done.err
