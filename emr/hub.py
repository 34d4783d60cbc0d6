"""JupyterHub on the cluster: who uses it, and the notebook that waits there, told where this bucket is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emr.bucket import JUPYTER
from emr.context import Context
from emr.transfer import list_objects
from fruits.params import repository

# The user that EMR makes. What the Hub saves in S3 lies in a folder of this name.
USER = "jovyan"


def make_notebook(context: Context, values: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Write the notebook for the Hub's user; return it by its key, or nothing if one is there: it may be edited."""
    from fruits.notebook import fill_parameters

    source = repository() / "notebooks" / "emr_jupyterhub.ipynb"
    key, file = f"{JUPYTER}{USER}/{source.name}", folder / source.name
    if not context.dry_run and list_objects(context.client("s3"), context.bucket, key):
        context.say(
            f"s3://{context.bucket}/{key} stays as it was saved; delete it and repeat this for the present one."
        )
        return {}
    if values.get("weights") == "imagenet":
        context.say(
            f"{source.name} names no weights yet, since Keras has none here: run `fruits run MINI --target local`, "
            f"delete s3://{context.bucket}/{key}, and repeat this; or name the s3:// place of an .h5 file in it."
        )
    notebook = json.loads(source.read_text(encoding="utf-8"))
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] = fill_parameters("".join(cell["source"]), values)
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {key: file}
