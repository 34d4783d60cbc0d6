"""Settings: `cluster.yaml` and `--set` in, one frozen object out, or one error that lists everything wrong."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, get_origin

from fruits.aws import EU_REGIONS
from fruits.errors import UsageError
from fruits.yaml_text import parse_setting, read_yaml

SETTINGS_FILE = Path(__file__).parent / "cluster.yaml"
# The newest release with JupyterHub, and the last days of standard support: docs.aws.amazon.com, page of each release.
NEWEST = "emr-7.14.0"
_SUPPORT_ENDS = {"emr-7.5.0": date(2026, 11, 20), NEWEST: date(2028, 9, 8)}
# YARN gives a container multiples of its smallest allocation; an application master takes 512 MB, and 384 MB more.
_STEP_MB, _MASTER_MB = 32, 896
_FIGURES = {"ec2", "emr", "vcpus", "memory_gib", "yarn_mb"}
# What multiplies money; the templates limit the others.
_LIMITS = {"core_count": (1, 20), "task_count": (0, 20), "max_hours": (1, 48)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the cluster is, and what the estimates rest on; `cluster.yaml` explains keys, the templates limit values."""

    name: str
    region: str
    release: str
    primary_type: str
    core_type: str
    core_count: int
    task_type: str
    task_count: int
    root_gb: int
    data_gb: int
    idle_minutes: int
    max_hours: int
    livy_minutes: int
    zone: str
    wheelhouse: bool
    packed: bool
    log_days: int
    multipart_days: int
    image_base: str
    image_base_serverless: str
    image_compute: str
    dataset: dict[str, int]
    speed: dict[str, float]
    prices: dict[str, Any]

    @property
    def node_types(self) -> list[tuple[str, int, str]]:
        """Instance type, count and market of each group of nodes."""
        fixed = [(self.primary_type, 1, "ON_DEMAND"), (self.core_type, self.core_count, "ON_DEMAND")]
        return [*fixed, *([(self.task_type, self.task_count, "SPOT")] if self.task_count else [])]


def load_settings(overrides: Sequence[str] = (), *, file: Path = SETTINGS_FILE) -> Settings:
    """Read the settings, put `KEY=VALUE` overrides on top, and list everything wrong in one UsageError."""
    kinds: dict[str, Any] = {key.name: get_origin(key.type) or key.type for key in dataclasses.fields(Settings)}
    values = read_yaml(file)
    for setting in overrides:
        key, sign, value = (part.strip() for part in setting.partition("="))
        if not sign:
            raise UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set core_count=3")
        values[key] = parse_setting(value, kind=kinds.get(key), origin=f"--set {setting}")
    problems = [f"{key}: missing" for key in kinds if key not in values]
    problems += [f"{key}: unknown; allowed: {', '.join(kinds)}" for key in values if key not in kinds]
    for key in kinds.keys() & values.keys():
        if type(values[key]) is not kinds[key]:
            problems.append(f"{key} = {values[key]!r}: allowed: a value of type {kinds[key].__name__}")
    if problems := problems or _find_refused(values):
        raise UsageError(f"{file.name} is not valid:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return Settings(**values)


def _find_refused(values: Mapping[str, Any]) -> list[str]:
    """Name the values that CloudFormation would take: outside the EU, without a price, or too dear."""
    priced = [kind for kind, row in values["prices"]["instances"].items() if row.keys() >= _FIGURES]
    types = f"{', '.join(priced)}; others need {sorted(_FIGURES)} in prices.instances"
    where = f"{', '.join(EU_REGIONS)} (eu-west-2, London, and eu-central-2, Zurich, are not in the EU)"
    wrong = {key: types for key in ("primary_type", "core_type", "task_type") if values[key] not in priced}
    if values["image_compute"] not in (machines := values["prices"]["codebuild_minute"]):
        wrong["image_compute"] = ", ".join(machines)
    wrong |= {} if values["region"] in EU_REGIONS else {"region": f"a region of the EU: {where}"}
    wrong |= {key: f"{low} to {high}" for key, (low, high) in _LIMITS.items() if not low <= values[key] <= high}
    return [f"{key} = {values[key]!r}: allowed: {allowed}" for key, allowed in wrong.items()]


def check_release(release: str, *, today: date) -> str | None:
    """Refuse a release without JupyterHub or Python 3.11; return a warning for one that is past its support."""
    if not re.fullmatch(r"emr-7\.[1-9]\d*\.\d+", release):
        raise UsageError(
            f"release {release}: allowed: emr-7.1.0 to {NEWEST}. Before, there is no Python 3.11; after, no JupyterHub."
        )
    ended = _SUPPORT_ENDS.get(release, today)
    if today <= ended:
        return None
    return f"{release} is past its standard support since {ended}: only security fixes. Better: --set release={NEWEST}."


def size_spark(settings: Settings) -> dict[str, int]:
    """Compute what Spark is given: an executor a node, which fits beside an application master; a heap for the driver.

    Half of an executor is outside its heap, for Python. YARN, HDFS, Livy and JupyterHub share the primary node.
    """
    rows = settings.prices["instances"]
    workers = [rows[kind] for kind, *_ in settings.node_types[1:]]
    executors, cores = settings.core_count + settings.task_count, min(row["vcpus"] for row in workers)
    return {
        "Executors": executors,
        "ExecutorCores": cores,
        "ExecutorMegabytes": (min(row["yarn_mb"] for row in workers) - _MASTER_MB) // _STEP_MB * _STEP_MB // 2,
        "DriverMegabytes": rows[settings.primary_type]["memory_gib"] * 1024 // 4,
        "Vcpus": executors * cores,
    }
