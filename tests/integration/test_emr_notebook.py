"""`emr_jupyterhub.ipynb`, run by papermill through sparkmagic and Livy on a node without TensorFlow."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import requests
from conftest import REPOSITORY
from emr_cluster import NOTEBOOK_KEY, OBSTACLES, WEIGHTS, Cluster
from hub import PAPERMILL, PYSPARK, write_sparkmagic_config
from PIL import Image

from fruits import storage

pytestmark = [pytest.mark.integration, *OBSTACLES]
pytest_plugins = ("node_fixtures", "cluster_fixtures")

# Longer than a run takes on two busy cores.
PATIENCE = 300


@pytest.fixture
def notebook(cluster: Cluster, tmp_path: Path) -> Path:
    """Give the notebook as a user finds it in the Hub."""
    (file := tmp_path / "emr_jupyterhub.ipynb").write_bytes(cluster.get(NOTEBOOK_KEY))
    return file


def papermill(cluster: Cluster, notebook: Path, **parameters: object) -> subprocess.CompletedProcess[str]:
    """Run a notebook as in a terminal of the Hub; its executed copy is `out.ipynb` beside it."""
    conf = write_sparkmagic_config(notebook.parent / "sparkmagic", cluster.classifications, livy=cluster.livy.url)
    command = [str(PAPERMILL), notebook.name, "out.ipynb", "-k", PYSPARK, "--no-progress-bar"]
    command += [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPARK", "PYSPARK"))}
    env |= {"SPARKMAGIC_CONF_DIR": str(conf), "PATH": f"{PAPERMILL.parent}{os.pathsep}{env['PATH']}"}
    return subprocess.run(
        command, cwd=notebook.parent, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def read_text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def read_pictures(cell: nbformat.NotebookNode) -> list[Image.Image]:
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


@pytest.fixture(scope="module")
def done(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, nbformat.NotebookNode], set[float]]:
    """Run all 161 images, in tasks so small that progress can be seen, and look at Livy's progress meanwhile."""
    (file := tmp_path_factory.mktemp("done") / "emr_jupyterhub.ipynb").write_bytes(cluster.get(NOTEBOOK_KEY))
    seen, over = set(), threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for session in cluster.livy.sessions():
                answer = requests.get(f"{cluster.livy.url}/sessions/{session['id']}/statements", timeout=30)
                seen.update(entry["progress"] for entry in answer.json().get("statements", []))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        result = papermill(cluster, file, max_images=0, images_per_task=16)
    finally:
        over.set()
        watcher.join()
    assert result.returncode == 0, result.stderr
    executed = nbformat.read(file.with_name("out.ipynb"), as_version=4)
    return {cell.id: cell for cell in executed.cells}, seen


Done = tuple[dict[str, nbformat.NotebookNode], set[float]]


def test_the_first_cell_says_where_one_is(done: Done) -> None:
    told = read_text(done[0]["where"])
    assert "this is no node of EMR" in told
    assert "on local[2]" in told
    assert "an hour, prices of" in told
    assert "scripts/aws_setup.sh terminate" in told
    assert "after 30 idle minutes; an open session is not idle; it closes 60 minutes after a cell" in told


def test_features_are_those_of_an_independent_run(done: Done, cluster: Cluster, reference: pd.DataFrame) -> None:
    assert "161 images listed = 161 with features + 0 errors" in read_text(done[0]["cell-17"])
    files = [key for key in cluster.keys("data/features/") if key.endswith(".parquet")]
    tables = [pd.read_parquet(io.BytesIO(cluster.get(f"data/features/{key}"))) for key in files]
    ours = pd.concat(tables).set_index("path").loc[reference["path"], "features"]
    gap = np.abs(np.stack(ours) - np.stack(reference["features"])).max()
    print(f"largest difference of a feature: {gap:.1e}")  # noqa: T201 - pytest's
    assert gap <= 2e-4


def test_figures_are_pictures_in_the_notebook(done: Done) -> None:
    for name in ("cell-11", "cell-12", "cell-21", "cell-25"):
        (picture,) = read_pictures(done[0][name])
        assert min(picture.size) >= 300
    assert read_pictures(done[0]["cell-21"])[0].width > 1000


def test_texts_are_plain(done: Done) -> None:
    """Livy carries text and pictures: neither marks of Markdown nor `<... object at 0x...>` are for readers."""
    for name, cell in done[0].items():
        if cell.cell_type == "code" and name not in {"cell-11", "cell-12", "cell-21", "cell-25"}:
            assert "object at 0x" not in read_text(cell)
            assert "**" not in read_text(cell)


def test_progress_is_seen_while_a_cell_runs(done: Done) -> None:
    """sparkmagic shows what Livy says of the statement as a bar below the cell."""
    between = sorted(value for value in done[1] if 0 < value < 1)
    print(f"progress seen: {between}")  # noqa: T201 - pytest's
    assert len(between) >= 3


@pytest.mark.usefixtures("done")
def test_no_session_is_left_open(cluster: Cluster) -> None:
    assert cluster.livy.sessions() == []


@pytest.mark.usefixtures("done")
def test_results_and_report_are_those_of_the_pipeline(cluster: Cluster, shared: Path, tmp_path: Path) -> None:
    """`fruits run`'s notebook, by papermill on the same images and this machine's Spark: same files, same scores."""
    places = {"input_dir": cluster.images, "output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    values = {"max_images": 0, "target": "local", "weights": shared / WEIGHTS, "spark_master": "local[2]", **places}
    command = [
        Path(sys.executable).with_name("papermill"),
        REPOSITORY / "notebooks/pipeline.ipynb",
        tmp_path / "o.ipynb",
    ]
    command += [word for name, value in values.items() for word in ("-p", name, value)]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=PATIENCE)
    assert names_of(cluster.keys("data/MINI/")) == names_of(storage.list_files(tmp_path / "out" / "MINI"))
    assert cluster.keys("reports/emr/MINI/") == set(storage.list_files(tmp_path / "reports" / "local" / "MINI"))
    assert cluster.get("data/MINI/pca/csv/pca.csv") == (tmp_path / "out/MINI/pca/csv/pca.csv").read_bytes()
    ours, theirs = (
        json.loads(text)
        for text in (
            cluster.get("reports/emr/MINI/manifest.json"),
            (tmp_path / "reports/local/MINI/manifest.json").read_text(),
        )
    )
    assert ours.keys() == theirs.keys()
    assert {"counts": ours["counts"], "pca": ours["pca"], "model": ours["model"]["model_id"]} == {
        "counts": theirs["counts"],
        "pca": theirs["pca"],
        "model": theirs["model"]["model_id"],
    }
    assert ours["versions"]["keras"] is None


def names_of(files: Iterable[str]) -> set[str]:
    """Return names as they are, but for what Spark makes up anew each time and Hadoop's checksums of local files."""
    return {re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", name) for name in files if name[-4:] != ".crc"}


def test_a_spark_error_fails_the_run(cluster: Cluster, notebook: Path) -> None:
    content = nbformat.read(notebook, as_version=4)
    place = [cell.id for cell in content.cells].index("cell-09")
    planted = nbformat.v4.new_code_cell("spark.range(9).selectExpr(\"raise_error('planted')\").collect()")
    content.cells.insert(place, planted)
    nbformat.write(content, notebook)
    result = papermill(cluster, notebook)
    assert result.returncode == 1
    assert "planted" in result.stderr
    executed = {cell.id: cell for cell in nbformat.read(notebook.with_name("out.ipynb"), as_version=4).cells}
    assert executed["cell-10"].execution_count is None
    assert cluster.livy.sessions() == []


def test_a_wrong_parameter_is_a_sentence_and_fails_the_run(cluster: Cluster, notebook: Path) -> None:
    result = papermill(cluster, notebook, input_dir="s3://nobodys-bucket/images")
    assert result.returncode == 1
    assert "there is no bucket nobodys-bucket" in result.stderr
    assert cluster.livy.sessions() == []
