"""The JupyterHub that EMR runs in a container without Spark, set as the cluster's classifications say."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from cloud import clean_environ
from doubles import KEYS, REGION, find_port
from template import read_properties

from fruits.params import repository

HUB = repository() / ".hub"
BIN = HUB / "venv" / "bin"
PYTHON, JUPYTERHUB, PAPERMILL = BIN / "python", BIN / "jupyterhub", BIN / "papermill"
PROXY = HUB / "node_modules" / ".bin" / "configurable-http-proxy"
NO_HUB = "there is no JupyterHub in .hub: make hub builds it"
PYSPARK = "pysparkkernel"
# As on EMR, until `connect` sets another; the Hub reads it from the file `password` in its folder at each login.
USER, PASSWORD = "jovyan", "jupyter"
# Servers and kernels leave the hub's process group, but keep its environment: so they are found when it ends.
_MARK = "FRUITS_HUB_OF_TESTS"
_PERSISTENCE = {"s3.persistence.enabled", "s3.persistence.bucket"}
_PATIENCE = 60
# The one setting that differs from user to user.
_AUTHENTICATOR = """
import json
from pathlib import Path
from jupyterhub.auth import DummyAuthenticator
from traitlets.config import Config

class Passwords(DummyAuthenticator):
    async def authenticate(self, handler, data):
        self.password = Path("{folder}/password").read_text().strip().partition(":")[2]
        return await super().authenticate(handler, data)

c.merge(Config(json.loads(Path("{folder}/jupyterhub_config.json").read_text())))
c.JupyterHub.authenticator_class = Passwords
"""
_PREFIX = """import os
c.S3ContentsManager.prefix = "jupyter/" + os.environ["JUPYTERHUB_USER"]
"""

Classifications = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Hub:
    """One that runs: its address, its log, and the folder in which its users live."""

    url: str
    log: Path
    homes: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as the machine's end does: at once, with all that it started."""
        _end(self.process, self.homes.parent, grace=0)


def is_built() -> bool:
    return (HUB / ".ready").is_file()


@contextmanager
def start_hub(
    folder: Path,
    classifications: Classifications,
    *,
    livy: str,
    endpoint: str,
    host: str = "127.0.0.1",
    port: int | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Hub]:
    """Run a JupyterHub with what the classifications set, on a free port if none is given; EMR's is 9443.

    `livy` and `endpoint` are the addresses of Livy and of S3 as the hub sees them; `prefix` comes before its command.
    Its readiness is read from its log: with the prefix `ip netns exec NAME`, nobody here can reach it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = f"https://{host}:{port or find_port()}"
    config = write_hub_config(folder, classifications, url=url, livy=livy, endpoint=endpoint)
    log = folder / "hub.log"
    env = clean_environ() | KEYS | {_MARK: str(folder), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*prefix, str(JUPYTERHUB), "--config", str(config)],
            cwd=folder,
            env=env,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_start(process, log)
        yield Hub(url, log, folder / "homes", process)
    finally:
        _end(process, folder, grace=10)


def write_hub_config(folder: Path, classifications: Classifications, *, url: str, livy: str, endpoint: str) -> Path:
    """Write what EMR writes into the container: the hub's, the user's server's and sparkmagic's settings."""
    sparkmagic = write_sparkmagic_config(folder / "sparkmagic", classifications, livy=livy)
    servers = folder / "servers"
    servers.mkdir(exist_ok=True)
    contents = server_settings(classifications, endpoint=endpoint)
    (servers / "jupyter_server_config.json").write_text(json.dumps(contents, indent=2))
    (servers / "jupyter_server_config.py").write_text(_PREFIX)
    key, certificate = make_certificate(folder)
    settings = {
        "JupyterHub": {
            "bind_url": url,
            "hub_bind_url": f"http://127.0.0.1:{find_port()}",
            "ssl_key": str(key),
            "ssl_cert": str(certificate),
            "spawner_class": "simple",
            "log_level": "INFO",
        },
        "ConfigurableHTTPProxy": {"command": [str(PROXY)], "api_url": f"http://127.0.0.1:{find_port()}"},
        # No user may be made on this machine, as EMR's hub does in its container: names and a password stand for them.
        "Authenticator": {"allowed_users": [USER]},
        "Spawner": {
            "cmd": [str(BIN / "jupyterhub-singleuser")],
            "args": ["--allow-root"],
            "default_url": "/tree",
            "env_keep": ["PATH", "LANG", _MARK, *KEYS],
            "environment": {"SPARKMAGIC_CONF_DIR": str(sparkmagic), "JUPYTER_CONFIG_PATH": str(servers)},
            "start_timeout": _PATIENCE,
            "http_timeout": _PATIENCE,
        },
        "SimpleLocalProcessSpawner": {"home_dir_template": str(folder / "homes" / "{username}")},
    }
    (folder / "jupyterhub_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "password").write_text(f"{USER}:{PASSWORD}\n")
    file = folder / "jupyterhub_config.py"
    file.write_text(_AUTHENTICATOR.replace("{folder}", str(folder)))
    return file


def write_sparkmagic_config(folder: Path, classifications: Classifications, *, livy: str) -> Path:
    """Write sparkmagic's config.json and return its folder, which is for SPARKMAGIC_CONF_DIR."""
    values = {
        name: json.loads(value) for name, value in read_properties(classifications, "jupyter-sparkmagic-conf").items()
    }
    credentials = {"username": "", "password": "", "url": livy, "auth": "None"}
    values |= {f"kernel_{language}_credentials": credentials for language in ("python", "scala", "r")}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values, indent=2))
    return folder


def server_settings(classifications: Classifications, *, endpoint: str) -> dict[str, Any]:
    """Translate jupyter-s3-conf: a user's notebooks are s3://BUCKET/jupyter/USER/. EMR ignores a key misspelt."""
    values = read_properties(classifications, "jupyter-s3-conf")
    assert set(values) <= _PERSISTENCE, f"jupyter-s3-conf has {sorted(values)}, EMR knows {sorted(_PERSISTENCE)}"
    # Else the server asks the internet for news of itself.
    quiet = {"LabApp": {"news_url": None, "check_for_updates_class": "jupyterlab.NeverCheckForUpdate"}}
    if values.get("s3.persistence.enabled") != "true":
        return quiet
    return quiet | {
        "ServerApp": {"contents_manager_class": "s3contents.S3ContentsManager"},
        "S3ContentsManager": {
            "bucket": values["s3.persistence.bucket"],
            "endpoint_url": endpoint,
            "region_name": REGION,
        },
    }


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Sign a certificate with its own key, as EMR does: the browser warns, and the user accepts."""
    key, certificate = folder / "server.key", folder / "server.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


def _await_start(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while "JupyterHub is now running" not in (text := log.read_text(errors="replace")):
        assert process.poll() is None, f"JupyterHub ended: {text}"
        assert time.monotonic() < end, f"JupyterHub did not start: {text}"
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes], folder: Path, *, grace: float) -> None:
    """Ask the hub to end what it started, then kill what is left."""
    if grace and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    for left in find_processes(folder):
        with suppress(psutil.NoSuchProcess):
            left.kill()
    process.wait()


def find_processes(folder: Path) -> list[psutil.Process]:
    """Find what the hub of this folder started and is still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found
