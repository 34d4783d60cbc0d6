"""Settings and releases: what is refused, in which words, and the memory that executors are given."""

from datetime import date
from pathlib import Path

import pytest
from emr.settings import SETTINGS_FILE, check_release, load_settings, size_spark

from fruits.aws import EU_REGIONS
from fruits.errors import UsageError
from fruits.params import list_modes

SETTINGS = load_settings()


def test_the_file_is_what_the_documents_say() -> None:
    assert (SETTINGS.region, SETTINGS.release, SETTINGS.max_hours) == ("eu-west-1", "emr-7.14.0", 6)
    assert SETTINGS.node_types == [("m5.xlarge", 1, "ON_DEMAND"), ("m5.xlarge", 2, "ON_DEMAND")]
    assert load_settings(["task_count=3"]).node_types == [*SETTINGS.node_types, ("m5.xlarge", 3, "SPOT")]
    assert set(SETTINGS.dataset) <= set(list_modes())
    lines = SETTINGS_FILE.read_text().split("# ---- what")[0].splitlines()
    assert all("#" in line for line in lines if line.strip())


@pytest.mark.parametrize("kind", SETTINGS.prices["instances"])
@pytest.mark.parametrize("task_count", [0, 2])
def test_an_executor_and_the_application_master_fit_a_node(kind: str, task_count: int) -> None:
    settings = load_settings([f"core_type={kind}", f"primary_type={kind}", f"task_count={task_count}"])
    smallest = min(settings.prices["instances"][kind]["yarn_mb"] for kind, *_ in settings.node_types[1:])
    given = size_spark(settings)
    container = 2 * given["ExecutorMegabytes"]
    assert container % 32 == 0  # as YARN rounds it
    assert 0.8 * smallest < container + 512 + 384 <= smallest
    assert given["DriverMegabytes"] == settings.prices["instances"][kind]["memory_gib"] * 256
    assert given["Vcpus"] == given["ExecutorCores"] * (2 + task_count) == given["ExecutorCores"] * given["Executors"]


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2", "eu-central-2", "EU-WEST-1"])
def test_regions_of_the_eu_are_taken_and_others_refused(region: str) -> None:
    with pytest.raises(UsageError, match=r"London.*Zurich.*not in the EU"):
        load_settings([f"region={region}"])
    assert [load_settings([f"region={region}"]).region for region in EU_REGIONS] == list(EU_REGIONS)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("core_count=0", "core_count = 0: allowed: 1 to 20"),
        ("core_count=true", "core_count = True: allowed: a value of type int"),
        ("max_hours=49", "max_hours = 49: allowed: 1 to 48"),
        ("subnet=subnet-1", "subnet: unknown; allowed: name, region"),
        ("core_type=p4d.24xlarge", "core_type = 'p4d.24xlarge': allowed: m5.xlarge"),
        ("core_count", "--set core_count: allowed: KEY=VALUE"),
        ("region=mars max_hours=0", "max_hours = 0"),
    ],
)
def test_wrong_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(setting.split())
    assert message in str(caught.value)


def test_a_file_that_lacks_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("name: a")
    with pytest.raises(UsageError, match="region: missing"):
        load_settings(file=tmp_path / "cluster.yaml")


@pytest.mark.parametrize(
    ("release", "answer"),
    [
        *((wrong, "allowed: emr-7.1.0 to") for wrong in ("emr-spark-8.1.0", "emr-8.0.0", "emr-7.0.0", "emr-seven")),
        ("emr-7.5.0", "past its standard support since 2026-11-20"),
        ("emr-7.14.0", "None"),
    ],
)
def test_releases_that_cannot_serve_are_refused_and_old_ones_warned_of(release: str, answer: str) -> None:
    try:
        said = str(check_release(release, today=date(2026, 11, 21)))
    except UsageError as error:
        said = str(error)
    assert answer in said
    assert check_release("emr-7.5.0", today=date(2026, 11, 20)) is None
