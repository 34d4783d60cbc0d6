"""Settings, releases and state of the AWS side: what is refused, and in which words."""

import json
from datetime import date
from pathlib import Path

import pytest
from emr.releases import check_release
from emr.settings import EU_REGIONS, SETTINGS_FILE, load_settings
from emr.state import State

from fruits.errors import UsageError
from fruits.params import list_modes


def test_the_file_is_what_the_contract_says() -> None:
    settings = load_settings()
    assert (settings.region, settings.release, settings.task_count) == ("eu-west-1", "emr-7.5.0", 0)
    assert settings.node_types == [("m5.xlarge", 1, "ON_DEMAND"), ("m5.xlarge", 2, "ON_DEMAND")]
    spot = load_settings(["task_count=3"]).node_types  # task nodes alone
    assert spot == [*settings.node_types, ("m5.xlarge", 3, "SPOT")]
    assert set(settings.dataset) <= set(list_modes())
    assert str(settings.prices["date"]) == "2025-03-02"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2", "eu-central-2", "ap-south-1", "", "EU-WEST-1"])
def test_regions_of_the_eu_are_taken_and_others_refused(region: str) -> None:
    with pytest.raises(UsageError, match=r"London.*Zurich.*not in the EU"):
        load_settings([f"region={region}"])
    assert [load_settings([f"region={region}"]).region for region in EU_REGIONS] == list(EU_REGIONS)
    assert region not in EU_REGIONS


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("core_count=0", "core_count = 0: allowed: an integer from 1 to 20"),
        ("core_count=true", "core_count = True: allowed: an integer"),
        ("idle_minutes=0", "idle_minutes = 0: allowed: an integer from 1 to 10080"),
        ("core_types=m5.xlarge", "core_types = 'm5.xlarge': unknown; allowed: name, region"),
        ("core_type=m5", "core_type = 'm5': allowed: an instance type"),
        ("core_type=p4d.24xlarge", "core_type = 'p4d.24xlarge': no price; add it to prices.instances"),
        ("wheelhouse=perhaps", "wheelhouse = 'perhaps': allowed: true or false"),
        ("core_count", "--set core_count: allowed: KEY=VALUE"),
        ("name=Fruits!", "name = 'Fruits!': allowed: lower-case letters"),
        ("region=mars root_gb=1", "region = 'mars'"),
        ("region=mars root_gb=1", "root_gb = 1"),
    ],
)
def test_wrong_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(setting.split())
    assert message in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [("- a", "holds list"), ("a: [", "not valid YAML"), (None, "cannot")])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "cluster.yaml"
    if content:
        file.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_settings(file=file)


def test_every_key_is_explained() -> None:
    lines = SETTINGS_FILE.read_text().split("# ---- what")[0].splitlines()
    assert all("#" in line for line in lines if line.strip())


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ("emr-spark-8.1.0", "has no JupyterHub"),
        ("emr-spark-8.0.0", "Spark 4"),
        ("emr-8.0.0", "has no JupyterHub"),
        ("emr-7.0.0", "no Python 3.11"),
        ("emr-6.15.0", "no Python 3.11"),
        ("emr-seven", "no Python 3.11"),
    ],
)
def test_releases_that_cannot_serve_are_refused(release: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_release(release, today=date(2026, 11, 24))
    assert "emr-7.14.0" in str(caught.value)


def test_an_old_release_is_warned_of_from_its_day_on() -> None:
    assert check_release("emr-7.5.0", today=date(2026, 11, 20)) is None
    assert "emr-7.14.0" in str(check_release("emr-7.5.0", today=date(2026, 11, 21)))
    assert check_release("emr-7.14.0", today=date(2026, 11, 24)) is None


def test_state_is_remembered_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / ".fruits-aws.json"
    State(file).update(bucket="b", cluster="j-1")
    state = State(file)
    state.update(cluster=None)
    assert json.loads(file.read_text()) == {"bucket": "b"}
    with pytest.raises(UsageError, match=r"no cluster yet; first run: scripts/aws_setup.sh create-cluster"):
        state.need("cluster", command="create-cluster")
    state.forget()
    assert not file.exists()


def test_what_another_command_remembered_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    State(file).update(bucket="b", cluster="j-1")
    waiting = State(file)
    State(file).update(cluster="j-2", usd_per_hour=9)
    waiting.update(mode="MINI")
    assert json.loads(file.read_text()) == {"bucket": "b", "cluster": "j-2", "mode": "MINI", "usd_per_hour": 9}
    assert not waiting.update_if("cluster", "j-1", cluster=None)
    assert State(file).get("cluster") == "j-2"
    assert waiting.update_if("cluster", "j-2", cluster=None)
    assert State(file).get("cluster") is None


def test_a_dry_run_remembers_nothing_and_a_broken_state_is_refused(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json", frozen=True)
    state.update(bucket="b")
    assert not state.file.exists()
    state.file.write_text("{")
    with pytest.raises(UsageError, match="move it away"):
        State(state.file)
