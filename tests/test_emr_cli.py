"""The commands as a person types them, without credentials and without a network: dry runs, and what is refused."""

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emr import base
from emr.cli import HOME_VARIABLE, main

from fruits.aws import STATE_FILE
from fruits.errors import UsageError
from fruits.params import repository

COMMANDS = (
    *("help", "check", "create-bucket", "upload-dataset", "create-keypair", "create-cluster", "status", "connect"),
    *("run", "download-results", "terminate", "cleanup", "cost", "audit", "build-image"),
)
KEPT = {"account": "123456789012", "region": "eu-west-1", "name": "fruits", "bucket": "mine"}
IMAGE = ("--set", f"image_base=a@sha256:{'0' * 64}")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def plan(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


Aws = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a dry run must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


@pytest.fixture
def aws(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aws:
    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["aws_setup.sh", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def kept(home: Path) -> Path:
    """Remember a bucket, and write parameters for it, as `create-bucket` does."""
    (home / "params").mkdir()
    example = (repository() / base.EXAMPLE).read_text()
    (home / "params/emr.yaml").write_text(base.fill_params(example, bucket="mine"))
    (home / STATE_FILE).write_text(json.dumps(KEPT))
    return home


def test_a_dry_run_prints_template_parameters_and_policy_and_leaves_nothing(aws: Aws, home: Path) -> None:
    done = aws("create-bucket", "my-fruits", "--dry-run")
    assert (done.code, done.err) == (0, "")
    (stack,) = done.plan["stacks"]
    assert (stack["stack"], stack["parameters"]["BucketName"]) == ("fruits-base", "my-fruits")
    assert stack["template"] == (repository() / "emr/templates/base.yaml").read_text()
    statements = {entry["Sid"]: entry for entry in done.plan["policy"]["Statement"]}
    assert statements["Objects"]["Resource"] == "arn:aws:s3:::my-fruits/*"
    assert statements["Stacks"]["Resource"] == "arn:aws:cloudformation:eu-west-1:*:stack/fruits-*/*"
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("kept")
def test_the_cluster_of_a_dry_run_is_a_whole_template(aws: Aws) -> None:
    done = aws("create-cluster", "--dry-run", "--set", "core_count=3")
    (stack,) = done.plan["stacks"]
    assert (stack["stack"], stack["parameters"]["CoreCount"]) == ("fruits-cluster", "3")
    assert '"session_configs": "{}"' in stack["template"]
    assert "EUR" in done.err


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["run", "MINI"], "step"),
        (["terminate"], "delete"),
        (["cleanup"], "delete"),
        (["upload-dataset", "{images}"], "objects"),
        (["download-results"], "download"),
        (["audit"], "reads"),
        (["connect"], "commands"),
        (["build-image", "1.0", *IMAGE], "image_policy"),
        *(([command], "policy") for command in ("status", "check", "cost")),
    ],
)
def test_every_command_has_a_dry_run(aws: Aws, fruit_folder: Path, arguments: list[str], key: str) -> None:
    done = aws(*(argument.format(images=fruit_folder) for argument in arguments), "--dry-run")
    assert done.code == 0
    assert done.plan[key]


def test_a_build_by_a_docker_engine_needs_no_permission(aws: Aws) -> None:
    assert aws("build-image", "1.0", "--local", "--dry-run", *IMAGE).plan.keys() == {"command", "runs"}


def test_help_and_cost_need_no_account(aws: Aws) -> None:
    assert all(command in aws("help").out for command in COMMANDS)
    assert "FULL" in aws("cost").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bake"], "No such command 'bake'"),
        (["create-bucket"], "Missing argument 'NAME'"),
        *((["create-bucket", name], "3 to 63 lower-case letters") for name in ("ab", "My-B", "a.b.c", "x" * 64)),
        (["create-bucket", "mine", "--set", "region=eu-west-2"], "London"),
        (["create-cluster"], "no bucket yet; first run: scripts/aws_setup.sh create-bucket NAME"),
        (["run", "MINY"], "unknown mode 'MINY'; allowed: APPLES, FULL, MINI, "),
        (["download-results", "MINY"], "unknown mode 'MINY'"),
        (["cost", "--set", "core_count"], "allowed: KEY=VALUE"),
        (["build-image", "1.0"], "image_base is ''; it must be NAME@sha256:DIGEST"),
        (["build-image", "a:b"], "tag 'a:b': allowed: up to 101 letters"),
        (
            ["build-image", "1.0", "--set", "image_compute=LARGE"],
            "allowed: BUILD_GENERAL1_SMALL, BUILD_GENERAL1_MEDIUM",
        ),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_do(aws: Aws, arguments: list[str], message: str) -> None:
    done = aws(*arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.out + done.err


@pytest.mark.usefixtures("kept")
def test_without_credentials_it_is_said_and_the_exit_code_is_1(aws: Aws) -> None:
    done = aws("terminate", "--yes")
    assert done.code == 1
    assert "no AWS credentials were found; run `aws configure`" in done.err


def test_params_are_filled_and_kept() -> None:
    example = (repository() / base.EXAMPLE).read_text()
    filled = base.fill_params(example, bucket="mine")
    assert filled == example.replace("BUCKET", "mine")
    edited = filled.replace("batch_size: 16", "batch_size: 8").replace("imagenet  ", "s3://minerva/x.h5  ")
    # Another bucket stays, though its name begins the same.
    assert base.fill_params(edited, bucket="other") == edited.replace("s3://mine/", "s3://other/")
    with pytest.raises(UsageError, match="output_dir names no bucket"):
        base.fill_params("output_dir: data\n", bucket="mine")
