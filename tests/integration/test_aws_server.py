"""`scripts/aws_setup.sh` in processes of its own against moto's server, by AWS_ENDPOINT_URL as a person sets it."""

import json
import os
from pathlib import Path

import boto3
import pytest
import yaml
from cloud import BUCKET, CIDR, prepare_model, shell
from primary_node import primary_node

from fruits import eventlog, load_model
from fruits.params import repository
from fruits.session import find_s3_jars

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

    prepare_model(home)
    aws("create-bucket", BUCKET, "--yes")
    assert "sent" in aws("upload-dataset", str(fruit_folder), "--yes")
    assert "Start it?" in aws("create-cluster", *CIDR, code=130)  # no answer can be read
    assert "There is no cluster" in aws("status")
    assert "scripts/aws_setup.sh terminate" in aws("create-cluster", *CIDR, "--yes")
    assert "WAITING" in aws("status")
    assert "localhost:9443" in aws("connect", "--print")
    assert "TERMINATED" in aws("terminate", "--yes")
    assert "holds no results" not in aws("download-results", code=2)
    aws("cleanup", "--yes")
    assert "Nothing of ours costs money" in aws("audit")
    # The shards stay: they are a copy of images of this machine.
    assert {file.parent.name for file in home.rglob("*.parquet")} == {"fruits-360"}


@pytest.mark.skipif(not find_s3_jars(), reason="Spark has no S3A here: make s3 fetches it")
def test_a_step_really_reads_and_writes_s3(endpoint: str, home: Path, fruit_folder: Path, tmp_path: Path) -> None:
    """All the way: shards uploaded, `fruits run` on the node with its s3:// folders, the report fetched."""
    env = os.environ | {"AWS_ENDPOINT_URL": endpoint}
    assert shell(str(SCRIPT), "create-bucket", BUCKET, env=env).returncode == 0
    values = yaml.safe_load((home / "params/emr.yaml").read_text())
    (home / "params/emr.yaml").write_text(yaml.safe_dump(values | {"weights": "random"}))
    load_model("random", folder=home / "data" / "models")
    for command in (["upload-dataset", str(fruit_folder)], ["create-cluster", *CIDR]):
        done = shell(str(SCRIPT), *command, "--yes", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
    with primary_node(tmp_path / "node", endpoint=endpoint):
        done = shell(str(SCRIPT), "run", "MINI", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    report = home / "reports/emr/MINI"
    assert "<html" in (report / "run.html").read_text()
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="eu-west-1")
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key="reports/emr/MINI/manifest.json")["Body"].read())
    assert (manifest["target"], manifest["counts"]["features"]) == ("emr", 7)
    scores = s3.get_object(Bucket=BUCKET, Key="data/MINI/pca/csv/pca.csv")["Body"].read()
    assert scores.count(b"\n") == 8
    # Spark's log went by the bucket into the report; the cluster is described beside it.
    (log,) = (report / "spark").glob("*.zstd")
    summary = eventlog.read_event_log(log).summarise()
    assert summary == manifest["spark"]
    assert (summary["failed_tasks"], summary["cores"]) == (0, 2)
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="logs/spark/")["Contents"]]
    assert f"logs/spark/{log.name}" in listed
    cluster = json.loads((report / "cluster.json").read_text())
    assert cluster["step"]["minutes"] > 0
    assert cluster["step"]["started"] <= manifest["started"] <= cluster["step"]["ended"]
    assert f"logs/runs/{cluster['step']['run']}/exit" in [
        entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="logs/runs/")["Contents"]
    ]
