"""Settings: `cluster.yaml` and `--set` in, one frozen object out, or one error that lists everything wrong."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fruits.errors import UsageError
from fruits.yaml_text import parse_setting, read_yaml

SETTINGS_FILE = Path(__file__).parent / "cluster.yaml"
# The EU alone. eu-west-2 (London) and eu-central-2 (Zurich) bear the prefix and are not in it.
EU_REGIONS = {
    "eu-central-1": "Frankfurt",
    "eu-north-1": "Stockholm",
    "eu-south-1": "Milan",
    "eu-south-2": "Spain",
    "eu-west-1": "Ireland",
    "eu-west-3": "Paris",
}
_Check = Callable[[Any], bool]


def _key(allowed: str, check: _Check) -> Any:
    return dataclasses.field(metadata={"allowed": allowed, "check": check})


def _text(allowed: str, pattern: str) -> Any:
    return _key(allowed, lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value)))


def _integer(low: int, high: int) -> Any:
    allowed = f"an integer from {low} to {high}"
    return _key(allowed, lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high)


def _instance() -> Any:
    return _text("an instance type such as m5.xlarge", r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the cluster is, and what the estimates reckon with; `cluster.yaml` explains each key."""

    name: str = _text("lower-case letters, digits and -, at most 20", r"[a-z][a-z0-9-]{0,19}")
    region: str = _key(
        f"a region of the EU: {', '.join(EU_REGIONS)} (eu-west-2, London, and eu-central-2, Zurich, are not in the EU)",
        lambda v: v in EU_REGIONS,
    )
    release: str = _text("a release label such as emr-7.5.0", r"emr-[a-z0-9.-]+")
    primary_type: str = _instance()
    core_type: str = _instance()
    core_count: int = _integer(1, 20)
    task_type: str = _instance()
    task_count: int = _integer(0, 20)
    root_gb: int = _integer(15, 100)
    data_gb: int = _integer(10, 1000)
    idle_minutes: int = _integer(1, 10080)
    livy_minutes: int = _integer(1, 10080)
    imds_hop_limit: int = _integer(1, 4)
    subnet: str = _text("subnet-... or empty", r"(subnet-[0-9a-z]+)?")
    wheelhouse: bool = _key("true or false", lambda v: isinstance(v, bool))
    log_days: int = _integer(1, 3650)
    multipart_days: int = _integer(1, 365)
    dataset: Mapping[str, int] = _key("mode: images, FULL among them", lambda v: isinstance(v, dict) and "FULL" in v)
    speed: Mapping[str, float] = _key("name: number", lambda v: isinstance(v, dict))
    prices: Mapping[str, Any] = _key("name: number", lambda v: isinstance(v, dict))

    @property
    def node_types(self) -> list[tuple[str, int, str]]:
        """Instance type, count and market of each group of nodes."""
        groups = [
            (self.primary_type, 1, "ON_DEMAND"),
            (self.core_type, self.core_count, "ON_DEMAND"),
            (self.task_type, self.task_count, "SPOT"),
        ]
        return [group for group in groups if group[1]]

    @property
    def tags(self) -> dict[str, str]:
        """The tag that everything of ours bears, and by which cleanup knows it."""
        return {"project": self.name}


KEYS = {field.name: field for field in dataclasses.fields(Settings)}


def load_settings(overrides: Sequence[str] = (), *, file: Path = SETTINGS_FILE) -> Settings:
    """Read the settings, put `KEY=VALUE` overrides on top, and check it all.

    Raises
    ------
    UsageError
        One message that lists every unknown, missing and wrong key with its value and what is allowed.
    """
    values = read_yaml(file)
    for setting in overrides:
        key, sign, value = setting.partition("=")
        if not sign:
            raise UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set core_count=3")
        key = key.strip()
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


def check_region(region: str, *, what: str) -> None:
    """Refuse a place outside the EU, wherever its name came from.

    Raises
    ------
    UsageError
        Naming what lies where.
    """
    if region not in EU_REGIONS:
        raise UsageError(f"{what} lies in {region}; allowed: {', '.join(EU_REGIONS)}. The data may not leave the EU.")


def _find_unpriced(values: Mapping[str, Any]) -> list[str]:
    """Name the instance types without a price: they would make every estimate wrong in silence."""
    known = values["prices"].get("instances", {})
    return [
        f"{key} = {values[key]!r}: no price; add it to prices.instances, or take one of {', '.join(known)}"
        for key in ("primary_type", "core_type", "task_type")
        if values[key] not in known
    ]
