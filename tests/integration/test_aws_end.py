"""How clusters end: all of ours, none that is not ours, and no stale memory in the way. Against moto, in-process."""

import json
from typing import Any

import pytest
import yaml
from cloud import CIDR, EMR, Cloud
from emr import cluster as clusters
from emr import nodes
from emr.state import STATE_FILE, State

from fruits.errors import UsageError

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)
OURS = [{"Key": "project", "Value": "fruits"}]


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to list the nodes of an unknown cluster, as EMR does and moto does not."""
    pytest.importorskip("moto", reason="moto is not installed: make test-integration installs it")
    from moto.emr.exceptions import InvalidRequestException
    from moto.emr.models import ElasticMapReduceBackend as Backend

    answer = Backend.list_instances

    def list_instances(self: Any, cluster_id: str, **options: Any) -> Any:
        if cluster_id not in self.clusters:
            raise InvalidRequestException(message=f"Cluster id '{cluster_id}' is not valid.")
        return answer(self, cluster_id, **options)

    monkeypatch.setattr(Backend, "list_instances", list_instances)


def start(cloud: Cloud, *, name: str = "fruits", tags: list[dict[str, str]] = OURS) -> str:
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    instances = {"KeepJobFlowAliveWhenNoSteps": True, "InstanceGroups": [group]}
    emr = cloud.client("emr")
    return str(
        emr.run_job_flow(Name=name, Instances=instances, JobFlowRole="x", ServiceRole="y", Tags=tags)["JobFlowId"]
    )


def alive(cloud: Cloud) -> set[str]:
    listed = cloud.client("emr").list_clusters()["Clusters"]
    return {entry["Id"] for entry in listed if entry["Status"]["State"] != "TERMINATED"}


def remember(cloud: Cloud, **values: Any) -> None:
    (cloud.home / STATE_FILE).write_text(json.dumps(cloud.state | values))


@pytest.mark.parametrize("command", ["terminate", "cleanup"])
def test_all_clusters_of_ours_end_and_each_is_told(with_cluster: Cloud, command: str) -> None:
    first, second, third = with_cluster.state["cluster"], start(with_cluster), start(with_cluster)
    theirs = start(with_cluster, tags=[{"Key": "project", "Value": "bank"}])
    assert f"ours by name and tag: {second}" in with_cluster.run("status").out
    done = with_cluster.run(command)
    assert (done.code, alive(with_cluster)) == (0, {theirs})
    for cluster in (first, second, third):
        assert f"the end of cluster {cluster}" in done.out


@pytest.mark.parametrize("command", ["terminate", "cleanup"])
def test_a_remembered_cluster_that_is_over_does_not_hide_one_alive(with_cluster: Cloud, command: str) -> None:
    with_cluster.client("emr").terminate_job_flows(JobFlowIds=[with_cluster.state["cluster"]])
    start(with_cluster)
    assert with_cluster.run(command).code == 0
    assert alive(with_cluster) == set()
    assert "cluster" not in with_cluster.state


@pytest.mark.parametrize("command", ["status", "terminate", "cleanup"])
def test_a_cluster_that_emr_forgot_blocks_nothing(with_cluster: Cloud, command: str) -> None:
    remember(with_cluster, cluster="j-GONE")
    done = with_cluster.run(command)
    assert (done.code, done.err) == (0, "")
    assert "does not know cluster j-GONE (any more): it is forgotten here" in done.out
    assert "cluster" not in with_cluster.state
    assert bool(alive(with_cluster)) == (command == "status")


@pytest.mark.parametrize("command", ["status", "terminate", "cleanup"])
def test_in_another_region_nothing_is_forgotten(with_cluster: Cloud, command: str) -> None:
    done = with_cluster.run(command, "--set", "region=eu-west-3")
    assert done.code == 1
    assert "repeat it there: --set region=eu-west-1" in done.err
    assert alive(with_cluster) == {with_cluster.state["cluster"]}
    assert with_cluster.client("iam").get_role(RoleName="fruits-emr-node")


@pytest.mark.parametrize("command", ["terminate", "cleanup"])
def test_a_node_without_a_price_does_not_keep_the_cluster_remembered(with_cluster: Cloud, command: str) -> None:
    settings = yaml.safe_load((EMR / "cluster.yaml").read_text())
    for role in ("primary_type", "core_type", "task_type"):
        settings[role] = "c6i.xlarge"
    settings["prices"]["instances"] = {"c6i.xlarge": settings["prices"]["instances"]["c6i.xlarge"]}
    file = with_cluster.home / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    done = with_cluster.run(command, "--settings", str(file))
    assert (done.code, alive(with_cluster)) == (0, set())
    assert "cannot be reckoned: m5.xlarge has no price" in done.out
    assert "cluster" not in with_cluster.state


@pytest.mark.parametrize("command", ["terminate", "cleanup"])
def test_a_remembered_cluster_that_is_not_ours_is_left_alone(with_cluster: Cloud, command: str) -> None:
    ours, theirs = with_cluster.state["cluster"], start(with_cluster, name="production", tags=[])
    remember(with_cluster, cluster=theirs)
    done = with_cluster.run(command)
    assert done.code == 1
    assert f"cluster {theirs} does not bear the tag project=fruits: it is left alone" in done.err
    assert alive(with_cluster) == {ours, theirs}
    assert with_cluster.client("iam").get_role(RoleName="fruits-emr-node")
    assert with_cluster.keys("data/raw/")


def test_terminate_does_not_forget_a_cluster_started_meanwhile(
    with_cluster: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = nodes.clusters.wait_for

    def meanwhile(*arguments: Any) -> None:
        wait(*arguments)
        remember(with_cluster, cluster="j-NEW", usd_per_hour=9)

    monkeypatch.setattr(nodes.clusters, "wait_for", meanwhile)
    assert with_cluster.run("terminate").code == 0
    assert (with_cluster.state["cluster"], with_cluster.state["usd_per_hour"]) == ("j-NEW", 9)


def test_a_cluster_started_while_the_person_was_asked_is_taken(
    with_cluster: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_cluster.run("terminate").code == 0
    prepare, started = clusters._prepare, []

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        started.append(start(with_cluster))
        return prepare(*arguments, **options)

    monkeypatch.setattr(clusters, "_prepare", meanwhile)
    done = with_cluster.run("create-cluster", *CIDR)
    assert (done.code, alive(with_cluster)) == (0, set(started))
    assert f"Cluster {started[0]} is alive already." in done.out
    assert with_cluster.state["cluster"] == started[0]
    assert "usd_per_hour" not in with_cluster.state


def test_a_state_that_cannot_be_written_does_not_hide_what_the_cluster_costs(
    with_cluster: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_cluster.run("terminate").code == 0

    def full(*_: object, **__: object) -> None:
        raise UsageError("the disk is full")

    monkeypatch.setattr(State, "update", full)
    done = with_cluster.run("create-cluster", *CIDR)
    (started,) = alive(with_cluster)
    assert done.code == 2
    assert (
        f"Cluster {started} is starting, and costs money until you end it: scripts/aws_setup.sh terminate" in done.out
    )
