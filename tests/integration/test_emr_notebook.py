"""`emr_jupyterhub.ipynb`, run by papermill through sparkmagic and Livy on a node without TensorFlow."""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import requests
from cloud import BUCKET
from conftest import REPOSITORY, WEIGHTS
from doubles import KEYS, REGION
from emr.context import SPARK_LOGS
from emr_cluster import NOTEBOOK_KEY, OBSTACLES, Cluster
from hub import PAPERMILL, PYSPARK, write_sparkmagic_config
from PIL import Image

from fruits import eventlog, folders

pytestmark = [pytest.mark.integration, *OBSTACLES]
pytest_plugins = ("node_fixtures", "cluster_fixtures")

OUT_KEY = "jupyter/jovyan/out.ipynb"
# Longer than a run takes on two busy cores.
PATIENCE = 300
# Cells that draw.
FIGURES = ("cell-11", "cell-12", "cell-21", "cell-25", "ends", "quality-accuracy", "quality-classes")


def start(cluster: Cluster, folder: Path, *, key: str = NOTEBOOK_KEY, **parameters: object) -> subprocess.Popen[str]:
    """Start papermill as in a terminal of the Hub, whose notebooks are in S3 alone."""
    conf = write_sparkmagic_config(folder / "sparkmagic", cluster.classifications, livy=cluster.livy.url)
    places = [f"s3://{BUCKET}/{key}", f"s3://{BUCKET}/{OUT_KEY}"]
    command = [str(PAPERMILL), *places, "-k", PYSPARK, "--no-progress-bar"]
    command += [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPARK", "PYSPARK"))}
    env |= KEYS | {"AWS_ENDPOINT_URL": cluster.endpoint, "AWS_DEFAULT_REGION": REGION}
    env |= {"SPARKMAGIC_CONF_DIR": str(conf), "PATH": f"{PAPERMILL.parent}{os.pathsep}{env['PATH']}"}
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def papermill(
    cluster: Cluster, folder: Path, *, key: str = NOTEBOOK_KEY, **parameters: object
) -> tuple[int, str, dict[str, nbformat.NotebookNode]]:
    """Run papermill to its end; give exit code, what it said, and the cells of the executed copy by their ids."""
    with start(cluster, folder, key=key, **parameters) as process:
        _, said = process.communicate(timeout=PATIENCE)
    executed = nbformat.reads(cluster.get(OUT_KEY).decode(), as_version=4)
    return process.returncode, said, {cell.id: cell for cell in executed.cells}


def read_statements(cluster: Cluster) -> list[dict[str, Any]]:
    """List the statements of all sessions; one may end meanwhile."""
    urls = [f"{cluster.livy.url}/sessions/{session['id']}/statements" for session in cluster.livy.sessions()]
    return [entry for url in urls for entry in requests.get(url, timeout=30).json().get("statements", [])]


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
    seen: set[float] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            seen.update(entry["progress"] for entry in read_statements(cluster))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        code, said, cells = papermill(cluster, tmp_path_factory.mktemp("done"), max_images=0, images_per_task=16)
    finally:
        over.set()
        watcher.join()
    assert code == 0, said
    return cells, seen


Done = tuple[dict[str, nbformat.NotebookNode], set[float]]


def test_the_first_cell_says_where_one_is(done: Done) -> None:
    told = read_text(done[0]["where"])
    assert "this is not a node of EMR" in told
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
    for name in FIGURES:
        (picture,) = read_pictures(done[0][name])
        assert min(picture.size) >= 300
    (variance,) = read_pictures(done[0]["cell-21"])
    assert variance.height > variance.width


def test_texts_are_plain(done: Done) -> None:
    """Livy carries text and pictures: neither marks of Markdown nor `<... object at 0x...>` are for readers."""
    for name, cell in done[0].items():
        if cell.cell_type == "code" and name not in FIGURES:
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
def test_the_log_of_the_session_is_in_the_bucket(cluster: Cluster, tmp_path: Path) -> None:
    """`done` is the first to have had a session; S3 shows its log when Spark has ended."""
    _wait_for(lambda: any(name.endswith(".zstd") for name in cluster.keys(SPARK_LOGS)), seconds=30)
    name = min(name for name in cluster.keys(SPARK_LOGS) if name.endswith(".zstd"))
    (tmp_path / name).write_bytes(cluster.get(f"{SPARK_LOGS}{name}"))
    run = eventlog.read_event_log(tmp_path / name)
    assert f"{run.application}.zstd" == name
    # 161 images in tasks of 16.
    assert run.stages["tasks"].sum() >= 11
    assert run.summarise()["failed_tasks"] == 0


@pytest.mark.usefixtures("done")
def test_results_and_report_are_those_of_the_pipeline(
    cluster: Cluster, shared: Path, trained_models: Path, tmp_path: Path
) -> None:
    """`fruits run`'s notebook, by papermill on the same images and this machine's Spark: same files, same scores."""
    shutil.copytree(trained_models, tmp_path / "out/models")
    places = {"input_dir": cluster.images, "output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    values = {"max_images": 0, "target": "local", "weights": shared / WEIGHTS, "spark_master": "local[2]", **places}
    command: list[str | Path] = [
        Path(sys.executable).with_name("papermill"),
        REPOSITORY / "notebooks/pipeline.ipynb",
        tmp_path / "o.ipynb",
    ]
    command += [word for name, value in values.items() for word in ("-p", name, str(value))]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=PATIENCE)
    assert names_of(cluster.keys("data/MINI/")) == names_of(folders.as_folder(tmp_path / "out" / "MINI").list_files())
    # Spark's log is beside the report here, and in a place of its own in the bucket.
    files = folders.as_folder(tmp_path / "reports" / "local" / "MINI").list_files()
    assert cluster.keys("reports/emr/MINI/") == {name for name in files if not name.startswith("by-hand/spark/")}
    assert cluster.get("data/MINI/pca/csv/pca.csv") == (tmp_path / "out/MINI/pca/csv/pca.csv").read_bytes()
    ours, theirs = (
        json.loads(text)
        for text in (
            cluster.get("reports/emr/MINI/by-hand/manifest.json"),
            (tmp_path / "reports/local/MINI/by-hand/manifest.json").read_text(),
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


def test_a_spark_error_fails_the_run(cluster: Cluster, tmp_path: Path) -> None:
    content = nbformat.reads(cluster.get(NOTEBOOK_KEY).decode(), as_version=4)
    place = [cell.id for cell in content.cells].index("cell-09")
    planted = nbformat.v4.new_code_cell("spark.range(9).selectExpr(\"raise_error('planted')\").collect()")
    content.cells.insert(place, planted)
    cluster.s3.put_object(Bucket=BUCKET, Key="jupyter/jovyan/planted.ipynb", Body=nbformat.writes(content).encode())
    code, said, cells = papermill(cluster, tmp_path, key="jupyter/jovyan/planted.ipynb")
    assert code == 1
    assert "planted" in said
    assert cells["cell-10"].execution_count is None
    assert cluster.livy.sessions() == []


def test_a_wrong_parameter_is_a_sentence_and_fails_the_run(cluster: Cluster, tmp_path: Path) -> None:
    code, said, _ = papermill(cluster, tmp_path, input_dir="s3://nobodys-bucket/images")
    assert code == 1
    assert "there is no bucket nobodys-bucket" in said
    assert cluster.livy.sessions() == []


def test_an_interrupted_extraction_ends_its_jobs_and_the_session(cluster: Cluster, tmp_path: Path) -> None:
    with start(cluster, tmp_path, max_images=0, images_per_task=2, fresh=True) as process:
        _wait_for(lambda: any(0 < entry["progress"] < 1 for entry in read_statements(cluster)))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    _wait_for(lambda: cluster.livy.sessions() == [], seconds=30)
    _wait_for(lambda: cluster.livy.drivers() == [], seconds=30)


def _wait_for(reached: Callable[[], bool], *, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)
