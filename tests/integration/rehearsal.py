"""`make rehearse-aws`: the commands from nothing to a run and back to nothing, against moto; prints a transcript.

Nothing is played but AWS itself and the primary node (primary_node.py), which really runs its step. Ends with 1 if a
command ends otherwise than it should, or if anything is left.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import pytest
from cloud import BUCKET, CIDR
from cloud_fixtures import serve
from emr.cli import HOME_VARIABLE
from primary_node import primary_node

from fruits import load_model
from fruits.images.sample import ensure_sample
from fruits.params import load_params, repository

SCRIPT = repository() / "scripts" / "aws_setup.sh"


def play(*arguments: str, env: dict[str, str], codes: tuple[int, ...] = (0,)) -> str:
    """Run a command, show it as a person would have seen it, and stop if its exit code is another than those."""
    click.echo(f"\n$ scripts/aws_setup.sh {' '.join(arguments)}")
    done = subprocess.run([SCRIPT, *arguments], env=env, text=True, capture_output=True, check=False)
    output = (done.stdout + done.stderr).replace(env[HOME_VARIABLE], "~").replace("\r", "\n")
    click.echo(output.rstrip())
    if done.returncode not in codes:
        click.echo(f"exit code {done.returncode}; expected: {codes}")
        sys.exit(1)
    return output


def list_left(endpoint: str) -> list[str]:
    """Return what is left in the double after the cleanup."""
    import boto3

    def client(service: str) -> Any:
        return boto3.client(service, region_name="eu-west-1", endpoint_url=endpoint)

    groups = [entry["GroupName"] for entry in client("ec2").describe_security_groups()["SecurityGroups"]]
    vpcs = [entry["VpcId"] for entry in client("ec2").describe_vpcs()["Vpcs"] if not entry["IsDefault"]]
    return [
        *vpcs,
        *(entry["StackName"] for entry in client("cloudformation").describe_stacks()["Stacks"]),
        *(entry["Name"] for entry in client("s3").list_buckets()["Buckets"]),
        *(entry["RoleName"] for entry in client("iam").list_roles()["Roles"]),
        *(entry["InstanceProfileName"] for entry in client("iam").list_instance_profiles()["InstanceProfiles"]),
        *(entry["KeyName"] for entry in client("ec2").describe_key_pairs()["KeyPairs"]),
        *(name for name in groups if name not in ("default", "ElasticMapReduce-ServiceAccess")),  # moto's own
        *(c["Id"] for c in client("emr").list_clusters()["Clusters"] if c["Status"]["State"] != "TERMINATED"),
    ]


@click.command()
@click.option("--images", default=None, help="The folder with Training/ (default: the rendered sample).")
@click.option("--mode", default="MINI", show_default=True)
@click.option("--weights", default=None, help="An .h5 file.")
@click.option("--keep", default=None, help="Folder that keeps what is downloaded (default: nothing is kept).")
def rehearse(images: str | None, mode: str, weights: str | None, keep: str | None) -> None:
    """Play the commands, and look for what is left."""
    source = images or str(load_params("MINI", "sample").path("input_dir"))
    if not images:
        ensure_sample(Path(source))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, serve(patch) as endpoint:
        home = Path(keep).resolve() if keep else Path(folder) / "home"
        home.mkdir(parents=True, exist_ok=True)
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        for name, value in keys.items():
            patch.setenv(name, value)
        env = os.environ | {HOME_VARIABLE: str(home), "AWS_ENDPOINT_URL": endpoint}
        with_weights = ["--weights", weights] if weights else []
        play("create-bucket", BUCKET, env=env)
        # What `fruits run MINI --target local` leaves on this machine.
        load_model(weights or "random", folder=home / "data" / "models")
        if not weights:
            params = home / "params/emr.yaml"
            params.write_text(params.read_text().replace("weights: imagenet", "weights: random", 1))
        play("upload-dataset", source, *with_weights, "--yes", env=env)
        play("create-cluster", *CIDR, "--yes", env=env)
        play("check", env=env)
        play("status", env=env)
        play("connect", "--print", env=env)
        with primary_node(Path(folder) / "node", endpoint=endpoint):
            play("run", mode, env=env)
        play("download-results", env=env)
        play("terminate", "--yes", env=env)
        play("cleanup", "--yes", env=env)
        play("audit", env=env)
        left = list_left(endpoint)
    if left:
        click.echo(f"left: {', '.join(left)}")
        sys.exit(1)
    click.echo("\nNothing is left.")


if __name__ == "__main__":
    rehearse()
