"""Settings: `cluster.yaml` and `--set` in, one frozen object out, or one error that lists everything wrong."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from fruits.errors import UsageError
from fruits.yaml_text import parse_setting, read_yaml

SETTINGS_FILE = Path(__file__).parent / "cluster.yaml"
# Only the EU: eu-west-2 (London) and eu-central-2 (Zurich) have the prefix, but are not in the EU.
EU_REGIONS = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
# The newest release with JupyterHub, and the last days of standard support: docs.aws.amazon.com, page of each release.
NEWEST = "emr-7.14.0"
_SUPPORT_ENDS = {"emr-7.5.0": date(2026, 11, 20), NEWEST: date(2028, 9, 8)}
# YARN gives a container multiples of its smallest allocation; an application master takes 512 MB, and 384 MB more.
_STEP_MB, _MASTER_MB = 32, 896
_FIGURES = {"ec2", "emr", "vcpus", "memory_gib", "yarn_mb"}


def _key(allowed: str, check: Callable[[Any], bool]) -> Any:
    return dataclasses.field(metadata={"allowed": allowed, "check": check})


def _text(allowed: str, pattern: str) -> Any:
    return _key(allowed, lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value)))


def _integer(low: int, high: int) -> Any:
    allowed = f"an integer from {low} to {high}"
    return _key(allowed, lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the cluster is, and what the estimates rest on; `cluster.yaml` explains each key."""

    name: str = _text("lower-case letters, digits and -, at most 20", r"[a-z][a-z0-9-]{0,19}")
    region: str = _key(
        f"a region of the EU: {', '.join(EU_REGIONS)} (eu-west-2, London, and eu-central-2, Zurich, are not in the EU)",
        lambda v: v in EU_REGIONS,
    )
    release: str = _text("a release label such as emr-7.14.0", r"emr-[a-z0-9.-]+")
    primary_type: str = _text("an instance type of prices.instances", r"\S+")
    core_type: str = _text("an instance type of prices.instances", r"\S+")
    core_count: int = _integer(1, 20)
    task_type: str = _text("an instance type of prices.instances", r"\S+")
    task_count: int = _integer(0, 20)
    root_gb: int = _integer(15, 100)
    data_gb: int = _integer(10, 1000)
    idle_minutes: int = _integer(1, 10080)
    max_hours: int = _integer(1, 48)
    livy_minutes: int = _integer(1, 10080)
    zone: str = _text("a, b or c", r"[abc]")
    wheelhouse: bool = _key("true or false", lambda v: isinstance(v, bool))
    log_days: int = _integer(1, 3650)
    multipart_days: int = _integer(1, 365)
    dataset: Mapping[str, int] = _key("mode: images, FULL among them", lambda v: isinstance(v, dict) and "FULL" in v)
    speed: Mapping[str, float] = _key("name: number", lambda v: isinstance(v, dict))
    prices: Mapping[str, Any] = _key("name: number", lambda v: isinstance(v, dict))

    @property
    def node_types(self) -> list[tuple[str, int, str]]:
        """Instance type, count and market of each group of nodes."""
        fixed = [(self.primary_type, 1, "ON_DEMAND"), (self.core_type, self.core_count, "ON_DEMAND")]
        return [*fixed, *([(self.task_type, self.task_count, "SPOT")] if self.task_count else [])]


KEYS = {field.name: field for field in dataclasses.fields(Settings)}


def load_settings(overrides: Sequence[str] = (), *, file: Path = SETTINGS_FILE) -> Settings:
    """Read the settings, put `KEY=VALUE` overrides on top, and list everything wrong in one UsageError."""
    values = read_yaml(file)
    for setting in overrides:
        key, sign, value = (part.strip() for part in setting.partition("="))
        if not sign:
            raise UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set core_count=3")
        kind = KEYS[key].type if key in KEYS else None
        values[key] = parse_setting(value, kind=kind, origin=f"--set {setting}")
    problems = [f"{key}: missing; allowed: {KEYS[key].metadata['allowed']}" for key in KEYS if key not in values]
    for key, value in values.items():
        if key not in KEYS:
            problems.append(f"{key} = {value!r}: unknown; allowed: {', '.join(KEYS)}")
        elif not KEYS[key].metadata["check"](value):
            problems.append(f"{key} = {value!r}: allowed: {KEYS[key].metadata['allowed']}")
    if not problems:
        problems = _find_unpriced(values)
    if problems:
        raise UsageError(f"{file.name} is not valid:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return Settings(**values)


def check_release(release: str, *, today: date) -> str | None:
    """Refuse a release without JupyterHub or Python 3.11; return a warning for one that is past its support."""
    match = re.fullmatch(r"emr-(\d+)\.(\d+)\.\d+", release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if release.startswith("emr-spark-") or version >= (8, 0):
        raise UsageError(f"release {release} has no JupyterHub (Spark 4 releases dropped it); allowed: 7.x, {NEWEST}.")
    if version < (7, 1):
        raise UsageError(f"release {release}: its nodes have no Python 3.11; allowed: emr-7.1.0 to {NEWEST}.")
    ended = _SUPPORT_ENDS.get(release)
    if not ended or today <= ended:
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


def _find_unpriced(values: Mapping[str, Any]) -> list[str]:
    """Name the instance types with a figure missing: estimates and the size of executors would be wrong."""
    known = [kind for kind, row in values["prices"].get("instances", {}).items() if row.keys() >= _FIGURES]
    return [
        f"{key} = {values[key]!r}: allowed: {', '.join(known)}; others need {sorted(_FIGURES)} in prices.instances"
        for key in ("primary_type", "core_type", "task_type")
        if values[key] not in known
    ]
