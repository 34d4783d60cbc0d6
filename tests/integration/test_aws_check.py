"""What `check` says; moto knows no quotas of EC2, so that these are answers put into botocore."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cloud import BUCKET, Cloud
from emr.check import _compare_quota, check
from emr.context import Context
from emr.settings import load_settings

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


def make_context(home: Path, *overrides: str, **options: Any) -> Context:
    return Context(settings=load_settings(overrides), home=home, say=print, ask=print, **options)


@pytest.mark.parametrize(
    ("overrides", "quota", "status", "words"),
    [
        ([], 32.0, "ok", "on demand nodes need 12 vCPUs; quota for all that runs: 32"),
        ([], 8.0, "missing", "--set core_count=1, or ask for more: aws service-quotas"),
        ([], 5.0, "missing", "ask for more: aws service-quotas request-service-quota-increase"),
        (["core_count=5"], 16.0, "missing", "--set core_count=3, or ask for more"),
        (["task_count=5"], 12.0, "missing", "--set task_count=3, or ask for more"),
        ([], "AccessDeniedException", "warning", "AWS refused GetServiceQuota: AccessDenied"),
    ],
)
def test_the_quota_of_vcpus_says_which_setting_fits(
    tmp_path: Path, overrides: list[str], quota: float | str, status: str, words: str
) -> None:
    session = boto3.Session("any key", "any secret", region_name="eu-west-1")
    client, market = session.client("service-quotas"), "SPOT" if "task" in str(overrides) else "ON_DEMAND"
    context = make_context(tmp_path, *overrides, _clients={("service-quotas", "eu-west-1", False): client})
    asked = {"ServiceCode": "ec2", "QuotaCode": "L-34B43A08" if market == "SPOT" else "L-1216C47A"}
    with Stubber(client) as stub:
        if isinstance(quota, str):
            stub.add_client_error("get_service_quota", quota)
        else:
            stub.add_response("get_service_quota", {"Quota": {"Value": quota}}, asked)
        line = _compare_quota(context, market)
    assert line.status == status
    assert words in str(line)


def test_what_is_there_is_ticked(with_cluster: Cloud) -> None:
    lines = with_cluster.run("check").out.splitlines()
    assert lines[-3:] == [
        "[x] stack fruits-base: CREATE_COMPLETE",
        f"[x] objects in {BUCKET}: code 1, a model 3, images 12",
        "[x] cluster: WAITING",
    ]


def test_a_dry_run_and_an_old_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(make_context(tmp_path, "release=emr-7.5.0", dry_run=True)) == 0
    assert "past its standard support" in capsys.readouterr().out.splitlines()[1]
