"""A cluster of moto's whose primary node is a machine of its own, for `connect`; who uses this says what is on it.

A fixture `primary` of the module that names this plugin makes the machine.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import BUCKET, CIDR, prepare_model, shell
from connection import SCRIPT, home_of, show_console
from emr.cli import HOME_VARIABLE
from emr.tunnel import check_port
from sshd import Primary


@pytest.fixture(scope="module")
def port() -> Iterator[None]:
    """Wait until no other test of this machine uses the port of JupyterHub, which is always the same."""
    with Path(tempfile.gettempdir(), "fruits-tests-9443.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_port()
        yield


@pytest.fixture(scope="module")
def env(primary: Primary, one_policy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Make a cluster by the commands; give what a command that finds it again needs."""
    from cloud_fixtures import serve  # a plugin, which must not be imported before pytest does

    home, programs = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("programs")
    primary.install_ssh(programs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moto.iam.models.aws_managed_policies_data", one_policy)
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
            patch.delenv(name, raising=False)
        with serve(patch) as endpoint:
            own = {HOME_VARIABLE: str(home), "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
            own |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
            env = os.environ | own | {"PATH": f"{programs}:{os.environ['PATH']}"}
            prepare_model(home)
            images = home / "images" / "Training" / "Kiwi 1"
            images.mkdir(parents=True)
            (images / "1.jpg").write_bytes(b"no image, but a file")
            for command in (
                ["create-bucket", BUCKET],
                ["upload-dataset", str(images.parents[1]), "--files"],
                ["create-cluster", *CIDR],
            ):
                done = shell(str(SCRIPT), *command, "--yes", env=env)
                assert done.returncode == 0, done.stdout + done.stderr
            yield env


@pytest.fixture
def far(primary: Primary, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Primary]:
    """Give the machine as it is at first, with its keys on the console and the cluster's key let in."""
    show_console(monkeypatch, primary.console())
    primary.allow(home_of(env) / "fruits-key.pem")
    (primary.folder / "hub").mkdir(exist_ok=True)
    primary.restart_sshd()
    yield primary
    primary.set_cable(plugged=True)
