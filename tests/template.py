"""The cluster's properties as CloudFormation takes them from the template: parameters are filled in, nothing else."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from emr import stacks
from emr.cluster import build_parameters
from emr.settings import Settings


class _Loader(yaml.SafeLoader):
    """Reads !Ref and !Sub as {"Ref": ...} and {"Fn::Sub": ...}."""


def _read_tag(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {name if name == "Ref" else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _read_tag)  # type: ignore[no-untyped-call]


def read_cluster(settings: Settings, *, bucket: str) -> dict[str, Any]:
    """Return the properties of `AWS::EMR::Cluster`."""
    parameters = build_parameters(settings, bucket=bucket, now=datetime(2026, 11, 26, tzinfo=UTC))
    template = read_template("cluster")
    true = {name: _is_true(condition, parameters) for name, condition in template["Conditions"].items()}
    return dict(_fill(template["Resources"]["Cluster"]["Properties"], parameters, true))


def read_template(which: str) -> dict[str, Any]:
    """Return a template, its functions in their long form."""
    return dict(yaml.load(stacks.read_template(which), _Loader))  # noqa: S506 - a SafeLoader


def _is_true(condition: dict[str, Any], parameters: dict[str, str]) -> bool:
    if "Fn::Not" in condition:
        return not _is_true(condition["Fn::Not"][0], parameters)
    one, other = (_fill(value, parameters, {}) for value in condition["Fn::Equals"])
    return bool(one == other)


def _fill(value: Any, parameters: dict[str, str], true: dict[str, bool]) -> Any:
    if isinstance(value, list):
        entries = [_fill(entry, parameters, true) for entry in value]
        return [entry for entry in entries if entry != {"Ref": "AWS::NoValue"}]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return parameters.get(value["Ref"], value)
    if "Fn::Sub" in value:
        return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), value["Fn::Sub"])
    if "Fn::If" in value:
        name, *branches = value["Fn::If"]
        return _fill(branches[not true[name]], parameters, true)
    filled = {key: _fill(entry, parameters, true) for key, entry in value.items()}
    return {key: entry for key, entry in filled.items() if entry != {"Ref": "AWS::NoValue"}}


def read_properties(classifications: Sequence[Mapping[str, Any]], name: str) -> dict[str, str]:
    """Return the properties of a classification, or the variables that it exports."""
    (found,) = (entry for entry in classifications if entry["Classification"] == name)
    parts = (found, *found.get("Configurations", ()))
    return {key: value for part in parts for key, value in part.get("ConfigurationProperties", {}).items()}
