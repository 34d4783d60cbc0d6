"""What the tests against doubles of AWS share: a command that was run, and a look into the double."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emr.state import STATE_FILE

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
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    @property
    def state(self) -> dict[str, Any]:
        file = self.home / STATE_FILE
        return json.loads(file.read_text()) if file.is_file() else {}

    def cluster(self) -> dict[str, Any]:
        return self.client("emr").describe_cluster(ClusterId=self.state["cluster"])["Cluster"]


def shell(
    *command: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
