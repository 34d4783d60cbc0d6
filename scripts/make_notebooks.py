"""Make notebooks/emr_jupyterhub.ipynb from notebooks/pipeline.ipynb: how they differ is written here."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from fruits.notebook import fill_parameters
from fruits.yaml_text import read_yaml
from fruits_cli.execution import OPTIONAL

REPOSITORY = Path(__file__).resolve().parents[1]
PIPELINE = REPOSITORY / "notebooks" / "pipeline.ipynb"
HUB = PIPELINE.with_name("emr_jupyterhub.ipynb")
# The values of `input_dir` and the other parameters of the target.
TARGET = REPOSITORY / "params" / "emr.example.yaml"

KERNEL = {"display_name": "PySpark", "language": "python", "name": "pysparkkernel"}
TITLE = ", in JupyterHub on EMR"
# The last paragraph of the title cell.
KERNEL_TEXT = """\
Its kernel is **PySpark**: each cell runs on the cluster, in a Spark session that Livy opens with the first cell and
keeps until the kernel is shut down. It is made from `pipeline.ipynb` by `make notebooks`."""
FIRST = [
    new_markdown_cell(
        id="where-text",
        source="""\
## 0. The cluster

A property of the cluster says where the code of this project is; Spark sends it to the driver and to the executors.""",
    ),
    new_code_cell(
        id="where",
        source="""\
spark.sparkContext.addPyFile(spark.conf.get("spark.fruits.code"))

from fruits import session

for name, value in session.describe_cluster(spark).items():
    print(f"{name:<10} {value}")""",
    ),
]
LAST = [
    new_markdown_cell(
        id="leave-text",
        source="""\
## 11. Closing the session

An open session keeps the cluster running, and the cluster costs money. The next cell closes the session of this
notebook only; `%%cleanup -f` would close those of all notebooks. Any cell after it opens a new session. The cluster
itself ends after it has been idle for a while, or when you terminate it.""",
    ),
    new_code_cell(
        id="leave",
        source="""\
%%_do_not_call_delete_session
# The name is sparkmagic's: its kernels call this by themselves when they are shut down.""",
    ),
]


def make_hub_notebook(pipeline: NotebookNode) -> NotebookNode:
    """Return the notebook of the Hub: the cells of `pipeline`, changed where the cluster needs it."""
    title, *others = (_change_cell(cell) for cell in pipeline.cells)
    changes = {"cells": [title, *FIRST, *others, *LAST], "metadata": {"kernelspec": KERNEL}}
    made: NotebookNode = nbformat.from_dict(pipeline | changes)
    nbformat.validate(made)
    return made


def _change_cell(cell: NotebookNode) -> NotebookNode:
    source = cell.source
    if cell.id == "cell-00":
        heading, *paragraphs = source.split("\n\n")
        source = "\n\n".join([heading + TITLE, *paragraphs, KERNEL_TEXT])
    elif "parameters" in cell.metadata.get("tags", []):
        source = fill_parameters(source, read_yaml(TARGET))
    elif OPTIONAL in cell.metadata.get("tags", []):
        # Where nothing is drawn, sparkmagic would send the figure of an earlier cell: this one is empty.
        source = f"plt.figure(figsize=(1, 0.1))\n{source}\n%matplot plt"
    elif cell.cell_type == "code" and source.endswith(";"):
        # Without it sparkmagic sends no figure to the browser.
        source = source.removesuffix(";") + "\n%matplot plt"
    return NotebookNode(cell | {"source": source})


if __name__ == "__main__":
    nbformat.write(make_hub_notebook(nbformat.read(PIPELINE, as_version=4)), HUB)
