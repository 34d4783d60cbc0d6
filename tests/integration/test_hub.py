"""JupyterHub as on EMR: a user logs in with Chromium, runs a notebook, sees the figure, and finds it again.

The cells here are local ones: no Spark is needed to see that the hub, its kernels and its storage do what
the template of the cluster asks for. Screenshots are in reports/tests/.
"""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hub
import numpy as np
import pytest
from cloud import BUCKET, EMR, clean_environ
from doubles import REGION, local_s3, make_client
from emr.settings import load_settings
from matplotlib.figure import Figure
from nbformat import v4
from template import read_cluster

from fruits import plots

if TYPE_CHECKING:
    from browser import Visit

browser = pytest.importorskip("browser", reason="selenium is not installed: make test-integration installs it")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hub.is_built(), reason=hub.NO_HUB),
    pytest.mark.skipif(not browser.is_installed(), reason=browser.NO_BROWSER),
]

CLASSIFICATIONS = read_cluster(load_settings(), bucket=BUCKET)["Configurations"]
# Nothing listens there: local cells need no Livy.
NO_LIVY = "http://127.0.0.1:9"
HOME = f"jupyter/{hub.USER}/"
SHARE = np.array([0.5, 0.25, 0.125, 0.0625])


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Give a client of a local S3 with the one bucket."""
    pytest.importorskip("moto", reason="moto is not installed: make test-integration installs it")
    with local_s3() as address:
        client = make_client(address)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


@contextmanager
def visit_hub(folder: Path, s3: Any) -> "Iterator[tuple[hub.Hub, Visit]]":
    endpoint = s3.meta.endpoint_url
    with (
        hub.start_hub(folder, CLASSIFICATIONS, livy=NO_LIVY, endpoint=endpoint) as running,
        browser.open_browser(folder / "browser") as opened,
    ):
        yield running, browser.Visit(opened, running.url)
    assert hub.find_processes(folder) == []


def read(s3: Any, name: str) -> dict[str, Any]:
    return dict(json.loads(s3.get_object(Bucket=BUCKET, Key=HOME + name)["Body"].read()))


@pytest.fixture
def visit(tmp_path: Path, s3: Any) -> "Iterator[Visit]":
    with visit_hub(tmp_path, s3) as (_, visit):
        yield visit


def test_sparkmagic_reads_what_the_cluster_says(tmp_path: Path) -> None:
    folder = hub.write_sparkmagic_config(tmp_path, CLASSIFICATIONS, livy="http://primary:8998")
    wanted = json.loads((EMR / "sparkmagic.json").read_text())

    names = [*wanted, "base64_kernel_python_credentials"]
    code = f"from sparkmagic.utils import configuration as c, constants; import json; \
        print(json.dumps({{name: getattr(c, name)() for name in {names}}}))"
    env = clean_environ() | {"SPARKMAGIC_CONF_DIR": str(folder)}
    done = subprocess.run([hub.PYTHON, "-c", code], env=env, capture_output=True, text=True, check=True)

    read_back = json.loads(done.stdout.splitlines()[-1])
    assert read_back.pop("base64_kernel_python_credentials")["url"] == "http://primary:8998"
    assert read_back == wanted


def test_a_misspelt_key_of_the_persistence_is_refused() -> None:
    misspelt = {"Classification": "jupyter-s3-conf", "ConfigurationProperties": {"s3.persistance.bucket": BUCKET}}
    with pytest.raises(AssertionError, match="persistance"):
        hub.server_settings([misspelt], endpoint="")


def test_who_may_log_in_and_which_kernels_there_are(visit: "Visit") -> None:
    assert visit.log_in(hub.USER, "not jupyter") == "Invalid username or password"
    assert visit.log_in("somebody", hub.PASSWORD) == "Invalid username or password"

    assert visit.log_in(hub.USER, hub.PASSWORD) == ""
    assert {"PySpark", "Spark", "SparkR", "Python 3 (ipykernel)"} == set(visit.list_kernels())
    visit.take_screenshot("hub-kernels")


def make_notebook(picture: Path) -> bytes:
    """Make a notebook of the PySpark kernel that shows a picture and looks for Spark, both in the hub."""
    figure = Figure(figsize=(7, 4))
    plots.plot_cumulative(SHARE.cumsum(), ax=figure.subplots(), target=0.9)
    figure.savefig(picture)
    data = base64.b64encode(picture.read_bytes()).decode()
    show = f"import base64\nfrom IPython.display import Image, display\ndisplay(Image(base64.b64decode({data!r})))"
    look = "import importlib.util\nprint(importlib.util.find_spec('pyspark'))"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(f"%%local\n{code}") for code in (show, look)])
    notebook.metadata["kernelspec"] = {"name": hub.PYSPARK, "display_name": "PySpark", "language": "python"}
    return json.dumps(notebook).encode()


def test_a_notebook_of_the_bucket_runs_and_shows_its_figure(visit: "Visit", s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket=BUCKET, Key=f"{HOME}figure.ipynb", Body=make_notebook(tmp_path / "variance.png"))

    assert visit.log_in(hub.USER, hub.PASSWORD) == ""
    visit.open_notebook("figure.ipynb")
    visit.run_all(seconds=60)
    visit.show_picture()
    visit.take_screenshot("hub-figure")
    visit.save()
    visit.leave()
    visit.take_screenshot("hub-left")

    picture, spark = read(s3, "figure.ipynb")["cells"]
    assert "image/png" in picture["outputs"][0]["data"]
    assert "".join(spark["outputs"][0]["text"]) == "None\n", "the hub's container has no Spark"


def test_notebooks_survive_the_hub_and_its_disk(tmp_path: Path, s3: Any) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with visit_hub(first, s3) as (running, visit):
        assert visit.log_in(hub.USER, hub.PASSWORD) == ""
        visit.make_notebook("PySpark")
        visit.write("%%local\n1 / 0")
        visit.save()
        running.kill()
    shutil.rmtree(first)

    assert read(s3, "Untitled.ipynb")["metadata"]["kernelspec"]["name"] == hub.PYSPARK
    with visit_hub(second, s3) as (_, visit):
        assert visit.log_in(hub.USER, hub.PASSWORD) == ""
        visit.open_notebook("Untitled.ipynb")
        assert "%%local\n1 / 0" in visit.read()
        visit.take_screenshot("hub-found-again")
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            visit.run_all(seconds=60)
        visit.leave()
