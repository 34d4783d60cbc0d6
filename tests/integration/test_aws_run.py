"""`run`: the step that is sent, followed to its end; moto leaves steps running for ever, so its end is played here."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cloud import BUCKET, Cloud

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


@contextmanager
def played(cloud: Cloud, *, state: str, code: str | None, output: str = "") -> Iterator[list[dict[str, Any]]]:
    """Be the primary node: wait for the step, put out lines, leave an exit code, end the step."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.emr.models import emr_backends

    seen: list[dict[str, Any]] = []
    backend, s3 = emr_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"], cloud.client("s3")

    def play(stop: Callable[[], bool]) -> None:
        found = backend.clusters[cloud.state["cluster"]]
        while not found.steps and not stop():
            time.sleep(0.02)
        step = found.steps[-1]
        seen.append(step.config)
        run = step.hadoop_jar_step["Args"][-2]
        for line in output.splitlines():
            s3.put_object(Bucket=BUCKET, Key=f"logs/runs/{run}/output.log", Body=f"{line}\n".encode())
            time.sleep(0.15)
        if code is not None:
            s3.put_object(Bucket=BUCKET, Key=f"logs/runs/{run}/exit", Body=f"{code}\n".encode())
        step.state = state

    over = threading.Event()
    node = threading.Thread(target=play, args=(over.is_set,), daemon=True)
    node.start()
    try:
        yield seen
    finally:
        over.set()
        node.join(timeout=10)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from emr import steps

    monkeypatch.setattr(steps.run_mode, "__kwdefaults__", {"every": 0.05})


@pytest.mark.usefixtures("quick")
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


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("code", "expected"), [("1", 1), ("2", 2), (None, 1)])
def test_a_failed_run_exits_as_it_did_there(with_cluster: Cloud, code: str | None, expected: int) -> None:
    with played(with_cluster, state="FAILED", code=code, output="fruits: no folder s3://x"):
        done = with_cluster.run("run", "MINI")
    assert done.code == expected
    assert "  | fruits: no folder s3://x" in done.out
    assert "The cluster goes on" in done.out
    assert "scripts/aws_setup.sh terminate" in done.out
    assert not (with_cluster.home / "reports/emr").exists()


@pytest.mark.usefixtures("quick")
def test_a_code_that_emr_contradicts_is_no_success(with_cluster: Cloud) -> None:
    with played(with_cluster, state="FAILED", code="0"):
        done = with_cluster.run("run", "MINI")
    assert done.code == 1
    assert "EMR calls its step FAILED" in done.err


def test_a_run_without_a_ready_cluster_is_refused(with_cluster: Cloud) -> None:
    cluster = with_cluster.state["cluster"]
    with_cluster.client("emr").terminate_job_flows(JobFlowIds=[cluster])
    done = with_cluster.run("run", "MINI")
    assert done.code == 2
    assert "allowed: RUNNING, WAITING" in done.err
