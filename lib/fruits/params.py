"""The parameters of a run: read two YAML files and `--set`, check all values, list all problems in one error."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fruits import folders
from fruits.errors import UsageError
from fruits.networks import NETWORKS, find_network
from fruits.yaml_text import parse_setting, read_yaml

TARGETS = ("sample", "local", "emr")
ENGINES = ("litert", "tensorflow")
CSV_FORMATS = ("international", "excel-fr")
# Fruits-360: `r2_12_100.jpg` is frame 12 of the film `r2`; names without a prefix are of one more film.
FILM = r"^(?:(r\d*)_)?\d+_"
# Folders beside the results in `output_dir`.
RESERVED = {"features", "models", "raw", "projected"}
# `fruits run` sets it to the folder where it collects a report. It is not set when a notebook is run by hand.
DRAFT_VARIABLE = "FRUITS_REPORT_DRAFT"
# A file system takes 255 bytes; drafts have longer names.
_NAME_BYTES = 200
_MODE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# The forms that SparkContext.createTaskScheduler takes, less Mesos, which Spark 4 no longer knows.
_MASTER = re.compile(r"|local(\[(\*|[1-9]\d*)(, ?[1-9]\d*)?\])?|local-cluster\[\d+,\d+,\d+\]|yarn|(spark|k8s)://\S+")
_MEMORY = re.compile(r"(51[2-9]|5[2-9]\d|[6-9]\d\d|[1-9]\d{3,})m|[1-9]\d*g")  # Spark does not start with 450 MB or less
_Check = Callable[[Any], bool]


def _is_integer(value: object, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _is_share(value: object, *, zero: bool = False) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (0 < value <= 1 or (zero and value == 0))  # type: ignore[operator]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_globs(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(_is_text(glob) for glob in value)


def _is_folder_name(value: object) -> bool:
    return _is_text(value) and not re.search(r"^\.|[/\0]", str(value))


def _is_free_name(value: object) -> bool:
    taken = RESERVED | {mode.casefold() for mode in (list_modes() if find_repository() else ())}
    fits = str(value).isprintable() and len(str(value).encode(errors="replace")) <= _NAME_BYTES
    return value == "" or (_is_folder_name(value) and fits and str(value).casefold() not in taken)


def _is_group_pattern(value: object) -> bool:
    with suppress(re.error):
        return value == "" or (isinstance(value, str) and re.compile(value).groups > 0)
    return False


def _key(group: str, allowed: str, check: _Check, *, default: Any = dataclasses.MISSING) -> Any:
    return dataclasses.field(default=default, metadata={"group": group, "allowed": allowed, "check": check})


_what, _where = partial(_key, "what"), partial(_key, "where")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunParams:
    """The parameters of a run: *what* to compute (a mode file) and *where* (a target file).

    A file may leave out those that have a default.
    """

    mode: str = _what("upper-case letters, digits and _", lambda v: _is_text(v) and bool(_MODE_NAME.fullmatch(v)))
    classes: tuple[str, ...] = _what('a list of globs on class folders, such as ["Apple*"]', _is_globs)
    max_images: int = _what("an integer >= 0 (0 = all images)", lambda v: _is_integer(v, at_least=0))
    split: str = _what("all (images), or the name of a folder in input_dir, such as Training or Test", _is_folder_name)
    pca_components: int = _what("an integer >= 1", lambda v: _is_integer(v, at_least=1))
    variance_target: float = _what("a number above 0, at most 1", _is_share)
    max_error_share: float = _what("a number from 0 to 1 (0 = none at all)", lambda v: _is_share(v, zero=True))
    seed: int = _what("an integer from 0 to 2**32 - 1", lambda v: _is_integer(v, at_least=0) and v < 2**32)
    name: str = _what(
        f"empty (the mode), or a folder name other than a mode's and {', '.join(sorted(RESERVED))}",
        _is_free_name,
        default="",
    )
    evaluate: bool = _what("true or false", lambda v: isinstance(v, bool), default=True)
    group: str = _what("a regular expression with a group, or empty (no groups)", _is_group_pattern, default=FILM)
    against: str = _what(
        "empty (Test for Training, Training for Test), or the name of another split",
        lambda v: v == "" or _is_folder_name(v),
        default="",
    )

    target: str = _where(f"one of {', '.join(TARGETS)}", lambda v: v in TARGETS)
    input_dir: str = _where("the folder of the images, packed or not", _is_text)
    output_dir: str = _where("a folder for features and results", _is_text)
    report_dir: str = _where("a folder for reports", _is_text)
    weights: str = _where("imagenet, random, or the path of an .h5 file", _is_text)
    engine: str = _where(f"one of {', '.join(ENGINES)}", lambda v: v in ENGINES)
    spark_master: str = _where(
        "local, local[N or *], local[N,FAILURES], local-cluster[N,CORES,MB], spark://..., yarn, k8s://..., or empty",
        lambda v: isinstance(v, str) and bool(_MASTER.fullmatch(v)),
    )
    driver_memory: str = _where("a size such as 4g, at least 512m", lambda v: bool(_MEMORY.fullmatch(str(v))))
    batch_size: int = _where("an integer >= 1 (images a forward pass)", lambda v: _is_integer(v, at_least=1))
    images_per_task: int = _where("an integer >= 1", lambda v: _is_integer(v, at_least=1))
    fresh: bool = _where("true or false", lambda v: isinstance(v, bool))
    replace: bool = _where("true or false", lambda v: isinstance(v, bool))
    backbone: str = _where(f"one of {', '.join(NETWORKS)}", lambda v: v in [*NETWORKS], default="mobilenet_v2")
    input_size: int = _where(
        "an integer, the side of the input in pixels (0 = the network's own)",
        lambda v: _is_integer(v, at_least=0),
        default=0,
    )
    csv: str = _where(f"one of {', '.join(CSV_FORMATS)}", lambda v: v in CSV_FORMATS, default="international")

    def path(self, key: str) -> Path:
        """Resolve a path parameter; a relative one starts at the repository, never at the cwd."""
        return folders.resolve(getattr(self, key), base=find_repository())

    @property
    def title(self) -> str:
        """What the results are called: `name`, or the mode."""
        return self.name or self.mode

    @property
    def model_settings(self) -> dict[str, Any]:
        """The keywords of `load_model` that are parameters."""
        return {key: getattr(self, key) for key in ("backbone", "input_size", "engine", "seed")}

    @property
    def results_dir(self) -> Path:
        """Folder of the tables: `<output_dir>/<title>`."""
        return self.path("output_dir") / self.title

    @property
    def report_folder(self) -> Path:
        """Folder of the report: `<report_dir>/<target>/<title>`."""
        return self.path("report_dir") / self.target / self.title


KEYS = {field.name: field for field in dataclasses.fields(RunParams)}


def keys_of(group: str) -> tuple[str, ...]:
    """Return the names of the `what` or of the `where` parameters, in their order."""
    return tuple(name for name, field in KEYS.items() if field.metadata["group"] == group)


def find_repository() -> Path | None:
    """Return the repository, which holds `params/`; None if the package is elsewhere, as the zip on a cluster is."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "params").is_dir() else None


def repository() -> Path:
    """Return the folder that holds `params/`; refuse a package that is not installed from one."""
    if (root := find_repository()) is None:
        raise UsageError("there is no params/ folder here; install the repository with `make env` (pip install -e .).")
    return root


def list_modes() -> list[str]:
    """Return the modes: the names of the upper-case files in `params/`."""
    return sorted(file.stem for file in (repository() / "params").glob("*.yaml") if _MODE_NAME.fullmatch(file.stem))


def check_mode(mode: str) -> None:
    """Refuse a mode that has no file, with the names of those that have one."""
    if mode not in list_modes():
        raise UsageError(describe_unknown("mode", mode, list_modes()))


def load_params(mode: str, target: str, overrides: Mapping[str, str] | None = None) -> RunParams:
    """Read a mode file and a target file, put the texts of `--set` on top, and check it all.

    One UsageError lists every unknown, missing and mistyped key with its file, value and what is allowed.
    """
    check_mode(mode)
    if target not in TARGETS:
        raise UsageError(describe_unknown("target", target, TARGETS))
    values, sources, problems = {}, {}, []
    for name, group in ((mode, "what"), (target, "where")):
        file = f"params/{name}.yaml"
        for key, value in read_yaml(repository() / file).items():
            values[key], sources[key] = value, file
            if key in KEYS and KEYS[key].metadata["group"] != group:
                problems.append(f"{file}: {key} = {value!r}: belongs in the other file; {group} keys are allowed here")
        problems += name_missing(keys_of(group), values, origin=file)
    for key, text in (overrides or {}).items():
        kind = KEYS[key].type if key in KEYS else None
        values[key], sources[key] = parse_setting(text, kind=kind, origin=f"--set {key}={text}"), "--set"
    for key, name in (("mode", mode), ("target", target)):
        if values.get(key, name) != name:
            problems.append(f"{sources[key]}: {key} = {values[key]!r}: must equal the file's name, {name}")
    return build_params(values, sources=sources, problems=problems)


def describe_unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """Describe a name that is not among the allowed ones."""
    return f"unknown {what} {name!r}; allowed: {', '.join(allowed)} ({what}s are files in params/)."


def name_missing(keys: Iterable[str], values: Mapping[str, Any], *, origin: str) -> list[str]:
    """Return a line for each parameter that has neither value nor default, with what is allowed."""
    needed = [key for key in keys if key not in values and KEYS[key].default is dataclasses.MISSING]
    return [f"{origin}: {key}: missing; allowed: {KEYS[key].metadata['allowed']}" for key in needed]


def build_params(values: Mapping[str, Any], *, sources: Mapping[str, str], problems: list[str]) -> RunParams:
    """Check the values and build the parameters; UsageError lists the given problems and all others."""
    for key, value in values.items():
        if key not in KEYS:
            problems.append(f"{sources[key]}: {key} = {value!r}: unknown; allowed: {', '.join(KEYS)}")
        elif not KEYS[key].metadata["check"](_normalise(key, value)):
            problems.append(f"{sources[key]}: {key} = {value!r}: allowed: {KEYS[key].metadata['allowed']}")
    if problems:
        raise UsageError("the parameters are not valid:\n" + "\n".join(f"  - {problem}" for problem in problems))
    params = RunParams(**{key: _normalise(key, value) for key, value in values.items()})
    find_network(params.backbone, params.input_size)
    return params


def _normalise(key: str, value: Any) -> Any:
    if key == "spark_master" and value is None:
        return ""
    if key == "classes" and isinstance(value, list):
        return tuple(value)
    if key in {"variance_target", "max_error_share"} and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
