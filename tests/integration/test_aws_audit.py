"""What `audit` says where it may not look, against moto: never that nothing is there."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from cloud import BUCKET, Cloud

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what lets AWS refuse an operation, in one region or all, of one bucket or all, by a code."""

    def deny(operation: str, code: str, *, region: str | None = None, bucket: str | None = None) -> None:
        call = BaseClient._make_api_call

        def refuse(self: Any, name: str, arguments: dict[str, Any]) -> Any:
            here = region in (None, self.meta.region_name) and bucket in (None, arguments.get("Bucket"))
            if name == operation and here:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, name)
            return call(self, name, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    return deny


def test_audit_does_not_take_a_refusal_for_nothing(with_bucket: Cloud, deny: Callable[..., None]) -> None:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "project", "Value": "fruits"}]}]
    with_bucket.client("ec2").create_volume(AvailabilityZone="eu-west-1a", Size=8, TagSpecifications=tags)
    deny("ListClusters", "AccessDeniedException", region="eu-west-1")
    done = with_bucket.run("audit")
    assert done.code == 1
    assert "not seen, so that things of ours may be there: clusters in eu-west-1 (AccessDeniedException)" in done.err
    assert "eu-west-1     volume" in done.out  # EC2 was asked all the same
    assert BUCKET in done.out


@pytest.mark.parametrize(
    ("operation", "code", "what"),
    [
        ("ListClusters", "AccessDeniedException", "clusters in eu-west-3"),
        ("DescribeInstances", "UnauthorizedOperation", "instances in eu-west-3"),
        ("DescribeVolumes", "UnauthorizedOperation", "volumes in eu-west-3"),
        ("DescribeAddresses", "UnauthorizedOperation", "addresses in eu-west-3"),
    ],
)
def test_a_region_that_was_not_seen_is_not_called_empty(
    cloud: Cloud, deny: Callable[..., None], operation: str, code: str, what: str
) -> None:
    deny(operation, code, region="eu-west-3")
    done = cloud.run("audit")
    assert done.code == 1
    assert f"{what} ({code}). Your user or role needs" in done.err
    assert "eu-west-3" not in done.out
    assert "Nothing of ours in" in done.out


@pytest.mark.parametrize("operation", ["GetBucketTagging", "ListObjectsV2"])
def test_a_bucket_that_was_not_seen_is_told(with_bucket: Cloud, deny: Callable[..., None], operation: str) -> None:
    deny(operation, "AccessDenied", bucket=BUCKET)
    done = with_bucket.run("audit")
    assert done.code == 1
    assert f"bucket {BUCKET} (AccessDenied)" in done.err


def test_buckets_that_may_not_be_listed_are_told(cloud: Cloud, deny: Callable[..., None]) -> None:
    deny("ListBuckets", "AccessDenied")
    done = cloud.run("audit")
    assert done.code == 1
    assert "the list of buckets (AccessDenied)" in done.err


def test_a_closed_region_is_no_failure(cloud: Cloud, deny: Callable[..., None]) -> None:
    deny("ListClusters", "UnrecognizedClientException", region="eu-south-1")
    done = cloud.run("audit")
    assert (done.code, done.err) == (0, "")
    told, nothing = done.out.splitlines()
    assert told == "eu-south-1: not open to this account (UnrecognizedClientException); not looked at."
    assert "eu-south-1" not in nothing


def test_wrong_credentials_are_no_closed_region(cloud: Cloud, deny: Callable[..., None]) -> None:
    deny("ListClusters", "UnrecognizedClientException")
    assert cloud.run("audit").code == 1
