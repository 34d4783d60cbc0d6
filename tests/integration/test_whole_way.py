"""From the browser through the tunnel to JupyterHub, sparkmagic and Livy to Spark, and back with the figure."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import hub
import numpy as np
import pandas as pd
import pytest
from cloud import BUCKET
from connection import connecting
from emr.tunnel import PORT
from emr_cluster import NOTEBOOK_KEY, OBSTACLES, Cluster
from relay import relay
from sshd import Primary, primary_machine, why_not

browser = pytest.importorskip("browser", reason="selenium is not installed: make test-integration installs it")
pytestmark = [
    pytest.mark.integration,
    *OBSTACLES,
    pytest.mark.skipif(not browser.is_installed(), reason=browser.NO_BROWSER),
]
pytest_plugins = ("node_fixtures", "cluster_fixtures", "cloud_fixtures", "tunnel_fixtures")
# Longer than the notebook takes on two busy cores.
PATIENCE = 300


@pytest.fixture(scope="module")
def primary(port: None, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """Give the primary node with JupyterHub on its port 9443; Livy and S3 are on this machine, and led there."""
    if missing := why_not():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("primary")
    with (
        primary_machine(folder) as primary,
        lead(cluster.livy.url, primary) as livy,
        lead(cluster.endpoint, primary) as endpoint,
        hub.start_hub(
            folder / "hub",
            cluster.classifications,
            livy=livy,
            endpoint=endpoint,
            port=PORT,
            prefix=["ip", "netns", "exec", primary.namespace],
        ),
    ):
        yield primary


@contextmanager
def lead(url: str, primary: Primary) -> Iterator[str]:
    """Give the address under which the other machine reaches a server of this one."""
    port = int(urlsplit(url).port or 0)
    with relay(primary.gateway, port):
        yield f"http://{primary.gateway}:{port}"


def test_a_user_runs_the_notebook_and_sees_the_figure(
    far: Primary, env: dict[str, str], cluster: Cluster, reference: pd.DataFrame, tmp_path: Path
) -> None:
    cluster.remove("data/MINI/")
    with connecting(env, tmp_path) as connection, browser.open_browser(tmp_path / "browser") as opened:
        connection.wait_for(f"Open: https://localhost:{PORT}")
        visit = browser.Visit(opened, f"https://localhost:{PORT}")
        assert visit.log_in(hub.USER, connection.read_password()) == ""
        visit.take_screenshot("whole-way-files")
        visit.open_notebook(Path(NOTEBOOK_KEY).name)
        visit.take_screenshot("whole-way-opened")
        visit.run_all(seconds=PATIENCE)
        assert cluster.livy.sessions() == [], "the notebook's last cell closes its session"
        visit.show_picture(0)
        visit.take_screenshot("whole-way-classes")
        visit.show_picture(2)
        visit.take_screenshot("whole-way-variance")
        visit.save()
        visit.leave()
        visit.take_screenshot("whole-way-left")
        assert connection.interrupt()[0] == 130

    saved = {cell["id"]: cell for cell in json.loads(cluster.get(NOTEBOOK_KEY))["cells"]}
    assert any("image/png" in output.get("data", {}) for output in saved["cell-21"]["outputs"])
    assert "100 images listed = 100 with features + 0 errors" in str(saved["cell-17"]["outputs"])
    scores = pd.read_csv(io.BytesIO(cluster.get("data/MINI/pca/csv/pca.csv")))
    assert scores.shape == (100, 3 + 99)
    assert set(scores["path"]) <= set(reference["path"])
    np.testing.assert_allclose(scores.filter(like="pc_").mean(), 0, atol=1e-5)
    assert f"s3://{BUCKET}/data/MINI" in str(saved["cell-29"]["outputs"])
