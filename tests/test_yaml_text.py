"""Values put into YAML files that people have written."""

import pytest
import yaml

from fruits.params import repository
from fruits.yaml_text import replace_value

EXAMPLE = (repository() / "params/emr.example.yaml").read_text()


@pytest.mark.parametrize("text", [EXAMPLE, "weights:\n", "weights: 'two\n\n  lines'  # why\n", "other: 1"])
@pytest.mark.parametrize(
    "value", ["s3://b/my weights #2.h5", "w: new.h5", 'it\'s "é" \\ \U0001f600\n', "- a", "x " * 99, "imagenet"]
)
def test_any_value_is_read_back_and_nothing_else_changes(text: str, value: str) -> None:
    new = replace_value(text, "weights", value)
    assert yaml.safe_load(new) == yaml.safe_load(text) | {"weights": value}
    assert new.count("#") - value.count("#") == text.count("#")
    assert replace_value(new, "weights", value) == new
