"""JupyterHub on the cluster: who uses it, and the notebook that waits there, told where this bucket is."""

import json
import re
from collections.abc import Mapping
from typing import Any

from emr.bucket import CODE, JUPYTER
from emr.context import Context
from emr.request import Request
from fruits.features.weights import keras_cache
from fruits.networks import DEFAULT, NETWORKS
from fruits.params import keys_of, repository
from fruits.yaml_text import read_yaml

# The user that EMR makes. What the Hub saves in S3 lies in a folder of this name.
USER = "jovyan"
NOTEBOOK = "emr_jupyterhub.ipynb"
KERAS_MODELS = f"{CODE}keras/models/"


def ship_notebook(context: Context) -> None:
    """Put the notebook where JupyterHub keeps those of its user, unless one is there: it may have been edited."""
    key = f"{JUPYTER}{USER}/{NOTEBOOK}"
    place = f"s3://{context.bucket}/{key}"
    head = Request("s3", "head_object", {"Bucket": context.bucket, "Key": key}, fine=("404", "NoSuchKey"))
    if not context.account.dry_run and context.account.read(head) is not None:
        context.say(f"Notebook: {place} stays as it was saved; delete it and repeat this for the present one.")
        return
    text = (repository() / "notebooks" / NOTEBOOK).read_text(encoding="utf-8")
    places = _read_places(context)
    body = fill_notebook(text, places)
    context.account.send(Request("s3", "put_object", {"Bucket": context.bucket, "Key": key, "Body": body.encode()}))
    context.say(f"Notebook: {place}, which JupyterHub shows as {NOTEBOOK}.")
    if places.get("weights") == "imagenet":
        context.say(
            "It names no weights yet, since Keras has none on this machine: run `fruits run MINI --target local` here, "
            f"delete {place}, and repeat this; or put the s3:// place of an .h5 file into its parameters."
        )


def fill_notebook(text: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of those in the notebook's `parameters` cell; their comments stay."""
    notebook = json.loads(text)
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    source = "".join(cell["source"])
    for name, value in values.items():
        line = f"{name} = {json.dumps(value) if isinstance(value, str) else repr(value)}"
        escaped = line.replace("\\", r"\\")
        source = re.sub(rf"^{name} = [^#\n]*?(?=(  #.*)?$)", escaped, source, flags=re.MULTILINE)
    cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _read_places(context: Context) -> dict[str, Any]:
    """Read `params/emr.yaml`; Livy's session has no Keras to download weights, but can copy them from the bucket."""
    file = context.params_file
    values = read_yaml(file if file.is_file() else repository() / "params" / "emr.example.yaml")
    network = NETWORKS.get(values.get("backbone", ""), DEFAULT)
    name = network.file.format(size=values.get("input_size") or network.size)
    if values.get("weights") == "imagenet" and (keras_cache() / name).is_file():
        values["weights"] = f"s3://{context.bucket}/{KERAS_MODELS}{name}"
    return {name: values[name] for name in keys_of("where") if name in values}
