"""JupyterHub on the cluster: who uses it, and the notebook that waits there, told where this bucket is."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emr.bucket import JUPYTER
from emr.context import Context
from emr.transfer import list_objects
from fruits.params import keys_of, repository

# The user that EMR makes. What the Hub saves in S3 lies in a folder of this name.
USER = "jovyan"
NOTEBOOK = "emr_jupyterhub.ipynb"


def make_notebook(context: Context, values: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write the notebook for the Hub's user; return it by its key, or nothing if one is there: it may be edited."""
    key, file = f"{JUPYTER}{USER}/{NOTEBOOK}", folder / NOTEBOOK
    place = f"s3://{context.bucket}/{key}"
    if not context.dry_run and list_objects(context.client("s3"), context.bucket, key):
        context.say(f"Notebook: {place} stays as it was saved; delete it and repeat this for the present one.")
        return {}
    text = (repository() / "notebooks" / NOTEBOOK).read_text(encoding="utf-8")
    file.write_text(fill_notebook(text, values), encoding="utf-8")
    if values.get("weights") == "imagenet":
        context.say(
            f"{NOTEBOOK} names no weights yet, since Keras has none on this machine: run `fruits run MINI --target "
            f"local` here, delete {place}, and repeat this; or put the s3:// place of an .h5 file into its parameters."
        )
    return {key: file}


def fill_notebook(text: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of those in the notebook's `parameters` cell; their comments stay."""
    notebook = json.loads(text)
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    source = "".join(cell["source"])
    for name in keys_of("where") & values.keys():
        spelt = json.dumps(values[name], ensure_ascii=False) if isinstance(values[name], str) else repr(values[name])
        line = f"{name} = {spelt}".replace("\\", r"\\")
        source = re.sub(rf"^{name} = [^#\n]*?(?=(  #.*)?$)", line, source, flags=re.MULTILINE)
    cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
