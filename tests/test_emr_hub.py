"""The notebook of JupyterHub, told where the bucket is."""

import ast
import json

import pytest
import yaml
from emr.hub import NOTEBOOK, fill_notebook

from fruits.params import repository

TEXT = (repository() / "notebooks" / NOTEBOOK).read_text()


def parameters_of(text: str) -> list[str]:
    (cell,) = (cell for cell in json.loads(text)["cells"] if "parameters" in cell["metadata"].get("tags", []))
    return "".join(cell["source"]).splitlines()


def test_the_same_values_leave_the_notebook_as_it_is() -> None:
    assert fill_notebook(TEXT, yaml.safe_load((repository() / "params/emr.example.yaml").read_text())) == TEXT


@pytest.mark.parametrize(
    "place", ["s3://mine/data", "s3://my-own/d\\1/#7", "a \"quoted\" 'one'\n", "\\g<0> \U0001f600"]
)
def test_only_the_named_values_are_exchanged(place: str) -> None:
    new = parameters_of(fill_notebook(TEXT, {"output_dir": place, "fresh": True, "batch_size": 8, "mode": "FULL"}))
    changed = {line.split(" = ")[0] for line, old in zip(new, parameters_of(TEXT), strict=True) if line != old}
    assert changed == {"output_dir", "fresh", "batch_size"}
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse("\n".join(new)).body}
    assert (values["output_dir"], values["fresh"], values["batch_size"]) == (place, True, 8)
    assert "fresh = True  # True: compute all features again" in "\n".join(new)
