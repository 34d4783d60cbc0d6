"""What the tests against doubles of AWS share: a command that was run, and a look into the double."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from doubles import list_keys

from fruits.aws import STATE_FILE
from fruits.params import repository

EMR = repository() / "emr"
BUCKET = "fruits-of-tests"
CIDR = ["--cidr", "203.0.113.7/32"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cloud:
    """Runs commands against the double, and looks into it."""

    home: Path
    run: Callable[..., Done]

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(service, region_name="eu-west-1")

    def keys(self, prefix: str = "") -> set[str]:
        return list_keys(self.client("s3"), BUCKET, prefix=prefix)

    @property
    def memory(self) -> dict[str, Any]:
        file = self.home / STATE_FILE
        return json.loads(file.read_text()) if file.is_file() else {}

    @property
    def cluster_id(self) -> str:
        (stack,) = self.client("cloudformation").describe_stacks(StackName="fruits-cluster")["Stacks"]
        return next(str(entry["OutputValue"]) for entry in stack["Outputs"] if entry["OutputKey"] == "Cluster")

    def cluster(self) -> dict[str, Any]:
        return dict(self.client("emr").describe_cluster(ClusterId=self.cluster_id)["Cluster"])

    def alive(self) -> list[str]:
        listed = self.client("emr").list_clusters()["Clusters"]
        return [entry["Id"] for entry in listed if entry["Status"]["State"] != "TERMINATED"]


def prepare_model(home: Path) -> None:
    """Put a converted model where a run of this machine leaves it."""
    folder = home / "data" / "models" / "0123456789abcdef-0123"
    folder.mkdir(parents=True)
    for name in ("model.json", "model.tflite", "weights.npz"):
        (folder / name).write_bytes(b"{}")


@contextmanager
def patch_call(operation: str, code: str, message: str, *, region: str = "eu-west-1") -> Iterator[None]:
    """Let AWS refuse an operation in a region."""
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    call = BaseClient._make_api_call

    def refuse(self: Any, name: str, arguments: dict[str, Any]) -> Any:
        if (name, self.meta.region_name) == (operation, region):
            raise ClientError({"Error": {"Code": code, "Message": message}}, name)
        return call(self, name, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", refuse)
        yield


def shell(
    *command: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)


def python311() -> str:
    """Return the Python 3.11 that this environment was made from: venvs of venvs are not what a node has."""
    return str(Path(sys.base_prefix) / "bin" / "python3.11")


def clean_environ() -> dict[str, str]:
    """Return this environment's variables without its Python settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
