"""What `check` says, against moto; moto knows no quotas of EC2, so that these are answers put into botocore."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from emr.check import check
from emr.context import Context
from emr.settings import load_settings
from moto import mock_aws

from fruits.params import repository

pytestmark = pytest.mark.integration
BASE = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield []


def look(home: Path, said: list[str], *overrides: str, quota: float | str = 32.0, dry_run: bool = False) -> int:
    settings, client = load_settings(overrides), boto3.client("service-quotas", region_name="eu-west-1")
    known: dict[tuple[str, str, bool], Any] = {("service-quotas", "eu-west-1", False): client}
    context = Context(settings=settings, home=home, say=said.append, ask=said.append, dry_run=dry_run, _clients=known)
    with Stubber(client) as stub:
        for code in ("L-1216C47A", "L-34B43A08"):
            if isinstance(quota, str):
                stub.add_client_error("get_service_quota", quota)
            else:
                asked = {"ServiceCode": "ec2", "QuotaCode": code}
                stub.add_response("get_service_quota", {"Quota": {"Value": quota}}, asked)
        return check(context)


@pytest.mark.parametrize(
    ("overrides", "quota", "code", "words"),
    [
        ([], 32.0, 0, "[x] on demand nodes need 12 vCPUs; quota, less what runs already: 32"),
        ([], 8.0, 1, "already: 8  ->  --set core_count=1, or ask for more: aws service-quotas"),
        ([], 5.0, 1, "already: 5  ->  ask for more: aws service-quotas request-service-quota-increase"),
        (["core_count=5"], 16.0, 1, "--set core_count=3, or ask for more"),
        (
            ["task_count=5"],
            12.0,
            1,
            "spot nodes need 20 vCPUs; quota, less what runs already: 12  ->  --set task_count=3",
        ),
        ([], "AccessDeniedException", 0, "already: not known  ->  AWS refused GetServiceQuota: AccessDenied"),
    ],
)
def test_the_quota_of_vcpus_says_which_setting_fits(
    tmp_path: Path, said: list[str], overrides: list[str], quota: float | str, code: int, words: str
) -> None:
    assert look(tmp_path, said, *overrides, quota=quota) == code
    assert [line for line in said if words in line]


def test_what_is_there_is_ticked(tmp_path: Path, said: list[str]) -> None:
    assert look(tmp_path, said) == 0
    assert not [line for line in said[4:] if line.startswith("[x]")]
    s3, cloudformation = (boto3.client(name, region_name="eu-west-1") for name in ("s3", "cloudformation"))
    s3.create_bucket(Bucket="bucket-b", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in ("code/bootstrap.sh", "data/models/m/model.tflite", "data/raw/fruits-360/images-0.parquet"):
        s3.put_object(Bucket="bucket-b", Key=key, Body=b"x")
    cloudformation.create_stack(StackName="fruits-base", TemplateBody=json.dumps(BASE))
    (tmp_path / ".fruits-aws.json").write_text('{"bucket": "bucket-b"}')
    (tmp_path / "params").mkdir()
    example = (repository() / "params" / "emr.example.yaml").read_text()
    (tmp_path / "params" / "emr.yaml").write_text(example.replace("BUCKET", "bucket-b"))
    said.clear()
    assert look(tmp_path, said) == 0
    assert said[4:] == [
        "[x] stack fruits-base: CREATE_COMPLETE",
        "[x] objects in bucket-b: code 1, a model 1, images 1",
        "[ ] cluster: none  ->  scripts/aws_setup.sh create-cluster",
    ]


def test_a_dry_run_and_an_old_release(tmp_path: Path, said: list[str]) -> None:
    assert look(tmp_path, said, "release=emr-7.5.0", dry_run=True) == 0
    assert len(said) == 2
    assert "past its standard support" in said[1]
