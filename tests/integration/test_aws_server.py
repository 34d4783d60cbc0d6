"""`scripts/aws_setup.sh` in processes of its own against moto's server, by AWS_ENDPOINT_URL as a person would set it.

The server files every EMR cluster under us-east-1 whatever the client asks for (moto/emr/responses.py reads the
region from the host name), so regions are tested in-process (test_aws_commands.py), not here.
"""

import json
import os
from pathlib import Path

import pytest
from cloud import BUCKET, CIDR, shell

from fruits.params import repository

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)
SCRIPT = repository() / "scripts" / "aws_setup.sh"


def test_the_commands_one_after_the_other(endpoint: str, home: Path, fruit_folder: Path) -> None:
    env = os.environ | {"AWS_ENDPOINT_URL": endpoint}

    def aws(*arguments: str, code: int = 0) -> str:
        done = shell(str(SCRIPT), *arguments, env=env, cwd=home)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    aws("create-bucket", BUCKET, "--yes")
    assert "all verified" in aws("upload-dataset", str(fruit_folder), "--yes")
    aws("create-keypair", "--yes")
    assert "scripts/aws_setup.sh terminate" in aws("create-cluster", *CIDR, "--yes")
    assert "WAITING" in aws("status")
    assert "localhost:9443" in aws("connect", "--print")
    assert "TERMINATED" in aws("terminate", "--yes")
    assert "holds no results" not in aws("download-results", code=2)
    aws("cleanup", "--yes")
    assert "Nothing of ours" in aws("audit")
    # The shards stay: they are a copy of images of this machine.
    assert {file.parent.name for file in home.rglob("*") if file.is_file()} == {"fruits-360"}


def test_a_question_without_a_yes_stops_the_command(endpoint: str, home: Path, fruit_folder: Path) -> None:
    env = os.environ | {"AWS_ENDPOINT_URL": endpoint}
    for command in (["create-bucket", BUCKET], ["upload-dataset", str(fruit_folder), "--files"]):
        assert shell(str(SCRIPT), *command, env=env).returncode == 0
    done = shell(str(SCRIPT), "create-cluster", *CIDR, env=env)
    assert done.returncode == 130  # no answer can be read
    assert "Start it?" in done.stdout
    assert "cluster" not in json.loads((home / ".fruits-aws.json").read_text())
