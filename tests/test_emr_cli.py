"""The commands as a person types them, without credentials and without a network: dry runs, and what is refused."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emr.cli import HOME_VARIABLE, cli, main
from emr.state import STATE_FILE

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def requests(self) -> list[dict[str, Any]]:
        return json.loads(self.out)

    def names(self) -> list[str]:
        """Return what would change something."""
        names = [request["operation"] for request in self.requests]
        return [name for name in names if not name.startswith(("describe", "get", "list", "head"))]


Aws = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
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


def remember(home: Path, **values: str) -> None:
    (home / STATE_FILE).write_text(json.dumps(values))


def test_a_dry_run_prints_json_alone_and_leaves_nothing(aws: Aws, home: Path) -> None:
    done = aws("create-bucket", "my-fruits", "--dry-run")
    assert done.code == 0
    assert done.names()[:3] == ["create_bucket", "put_bucket_tagging", "put_public_access_block"]
    assert done.names()[-1] == "put_bucket_policy"
    assert list(home.iterdir()) == []


def test_the_cluster_of_a_dry_run_is_the_whole_plan(aws: Aws, home: Path) -> None:
    remember(home, bucket="mine")
    done = aws("create-cluster", "--dry-run")
    assert done.names() == [
        "create_tags",
        "create_security_group",
        "create_security_group",
        "authorize_security_group_ingress",
        "create_role",
        "attach_role_policy",
        "put_role_policy",
        "create_role",
        "put_role_policy",
        "create_instance_profile",
        "add_role_to_instance_profile",
        "create_security_configuration",
        "run_job_flow",
    ]
    assert "EUR" in done.err
    assert "USD" in done.err
    assert "emr-7.14.0" in done.err  # emr-7.5.0 is past its support
    assert done.err.rstrip().endswith("scripts/aws_setup.sh terminate")
    assert json.loads((home / STATE_FILE).read_text()) == {"bucket": "mine"}


def test_the_address_of_a_dry_run_can_be_given_but_not_all_the_world(aws: Aws, home: Path) -> None:
    remember(home, bucket="mine")
    done = aws("create-cluster", "--dry-run", "--cidr", "203.0.113.7/32")
    rule = next(r for r in done.requests if r["operation"] == "authorize_security_group_ingress")
    assert rule["request"]["IpPermissions"][0]["IpRanges"][0]["CidrIp"] == "203.0.113.7/32"
    done = aws("create-cluster", "--dry-run", "--cidr", "0.0.0.0/0")
    assert done.code == 2
    assert "4,294,967,296 addresses" in done.err


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (["create-keypair"], "create_key_pair"),
        (["run", "MINI"], "add_job_flow_steps"),
        (["terminate"], "terminate_job_flows"),
        (["cleanup"], "delete_bucket"),
        (["upload-dataset", "{images}"], "upload_file"),
    ],
)
def test_every_changing_command_has_a_dry_run(
    aws: Aws, home: Path, fruit_folder: Path, arguments: list[str], operation: str
) -> None:
    remember(home, bucket="mine", cluster="j-1")
    done = aws(*(argument.format(images=fruit_folder) for argument in arguments), "--dry-run")
    assert done.code == 0
    assert operation in done.names()
    assert json.loads((home / STATE_FILE).read_text()) == {"bucket": "mine", "cluster": "j-1"}


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        ("status", "describe_cluster"),
        ("audit", "list_clusters"),
        ("check", "get_caller_identity"),
        ("download-results", "list_objects_v2"),
    ],
)
def test_looking_commands_only_look(aws: Aws, home: Path, command: str, operation: str) -> None:
    remember(home, bucket="mine", cluster="j-1")
    done = aws(command, "--dry-run")
    assert done.code == 0
    assert done.names() == []
    assert operation in {request["operation"] for request in done.requests}
    assert done.err == ""


def test_an_upload_of_a_dry_run_lists_the_files(aws: Aws, home: Path, fruit_folder: Path) -> None:
    remember(home, bucket="mine")
    done = aws("upload-dataset", str(fruit_folder), "--files", "--dry-run")
    keys = [request["request"].get("Key") for request in done.requests]
    assert "data/raw/fruits-360/Training/Apple Golden 1/0_100.jpg" in keys
    assert {"code/bootstrap.sh", "code/step.sh", "code/fruits.zip", "code/repository.zip"} <= set(keys)


def test_connect_prints_both_ways(aws: Aws, home: Path) -> None:
    remember(home, bucket="mine", cluster="j-1")
    ssh, ssm = aws("connect", "--dry-run"), aws("connect", "--ssm", "--dry-run")
    assert "-L 9443:localhost:9443" in ssh.err
    assert "StrictHostKeyChecking=ask" in ssh.err
    assert "passwd jovyan" in ssh.err
    assert "AWS-StartPortForwardingSession" in ssm.err


def test_help_and_cost_need_no_account(aws: Aws) -> None:
    done = aws("help")
    assert done.code == 0
    assert all(command in done.out for command in cli.commands)
    done = aws("cost")
    assert done.code == 0
    assert "FULL" in done.out
    assert aws("cost", "--set", "core_type=m5.2xlarge").out != done.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["bake"], 2, "No such command 'bake'"),
        (["create-bucket"], 2, "Missing argument 'NAME'"),
        (["create-bucket", "No.Good", "--dry-run"], 2, "allowed: 3 to 63 lower-case letters"),
        (
            ["create-bucket", "mine", "--set", "region=us-east-1"],
            2,
            "region = 'us-east-1': allowed: a region of the EU",
        ),
        (["create-bucket", "mine", "--set", "region=eu-west-2"], 2, "London"),
        (["create-cluster"], 2, "no bucket yet; first run: scripts/aws_setup.sh create-bucket NAME"),
        (["create-cluster", "--set", "release=emr-spark-8.1.0"], 2, "has no JupyterHub"),
        (["upload-dataset"], 2, "no bucket yet"),
        (["run", "MINY"], 2, "unknown mode 'MINY'; allowed: APPLES, FULL, MINI, "),
        (["download-results", "MINY"], 2, "unknown mode 'MINY'"),
        (["run", "MINI"], 2, "no cluster yet; first run: scripts/aws_setup.sh create-cluster"),
        (["connect"], 2, "no cluster yet"),
        (["download-results"], 2, "no bucket yet"),
        (["cost", "--set", "core_count"], 2, "allowed: KEY=VALUE"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_do(aws: Aws, arguments: list[str], code: int, message: str) -> None:
    done = aws(*arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.out + done.err


def test_without_credentials_it_is_said_and_the_exit_code_is_1(aws: Aws) -> None:
    done = aws("create-keypair", "--yes")
    assert done.code == 1
    assert "no AWS credentials were found; run `aws configure`" in done.err
    done = aws("check")
    assert done.code == 1
    assert "[ ] AWS credentials  ->  " in done.out
    assert "[x] region eu-west-1 is in the EU" in done.out
    assert "Finalisation:" in done.out


def test_the_script_passes_everything_on(tmp_path: Path) -> None:
    script = REPOSITORY / "scripts" / "aws_setup.sh"
    if not (REPOSITORY / ".venv" / "bin" / "python").exists():
        pytest.skip("the script starts .venv, and these tests run from another environment")
    done = subprocess.run(
        [script, "cost", "--set", "core_type=x"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "core_type = 'x': allowed" in done.stderr
