"""Settings as people write them: YAML files of `key: value` lines, and the texts of `--set`."""

import re
from pathlib import Path
from typing import Any

import yaml

from fruits.errors import UsageError

_INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)\Z")
_FLOAT = re.compile(r"[-+]?((0|[1-9]\d*)?\.\d+([eE][-+]?\d+)?|[1-9]\d*[eE][-+]?\d+|\.(inf|nan))\Z")
_NUMBERS = {"tag:yaml.org,2002:int": _INTEGER, "tag:yaml.org,2002:float": _FLOAT}


def parse_setting(text: str, *, kind: object, origin: str) -> Any:
    """Return the value of a `--set`: the text itself if `kind` is str, else the text read as YAML."""
    return text if kind is str else _parse_yaml(text, origin=origin)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines; UsageError if it is not one."""
    try:
        content = _parse_yaml(file.read_bytes(), origin=str(file))
    except OSError as error:
        cure = "check that the file is there and may be read"
        if file.name == "emr.yaml":
            cure = "`scripts/aws_setup.sh create-bucket NAME` writes it; or copy emr.example.yaml and fill it in"
        raise UsageError(f"{file} cannot be read ({error.strerror})", cure=cure) from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} holds {type(content).__name__}; it must hold `key: value` lines.")
    return content


def replace_value(text: str, key: str, value: str) -> str:
    """Put another value of a key, or a new key, into the text of a YAML file; its comments stay."""
    spelt = yaml.safe_dump(value, default_style='"', width=float("inf"), allow_unicode=True).strip()
    for name, old in yaml.compose(text, yaml.SafeLoader).value:
        if name.value == key:
            return f"{text[: name.end_mark.index]}: {spelt}{text[old.end_mark.index :]}"
    return f"{text.rstrip()}\n{key}: {spelt}\n"


def read_comments(file: Path) -> dict[str, str]:
    """Return what stands behind the `#` in the line of each key of a YAML file."""
    text = file.read_text(encoding="utf-8")
    pairs = yaml.compose(text, yaml.SafeLoader).value
    rests = {name.value: text[old.end_mark.index :].partition("\n")[0].strip() for name, old in pairs}
    return {key: rest.lstrip("# ") for key, rest in rests.items() if rest.startswith("#")}


class _Loader(yaml.SafeLoader):
    """YAML without what changes a value silently: repeated keys, octal (`010` is 8) and base-60 numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, _NUMBERS.get(tag, form)) for tag, form in pairs]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [str(key.value) for key, _ in node.value]
        if doubled := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"{', '.join(sorted(doubled))} is there twice")
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str | bytes, *, origin: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that cannot be
        raise UsageError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
