"""An AWS that is not there: moto in-process, its known gaps closed, and a home for what the commands write.

A plugin that the modules here name, not a conftest: other tests import from the one conftest that there is.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud import BUCKET, CIDR, Cloud, Done, prepare_model
from emr import stacks, steps
from emr.cli import HOME_VARIABLE, IMAGE_POLICY_FILE, POLICY_FILE, main
from stacks_double import complete_moto

NO_MOTO = "moto is not installed: make test-integration installs it"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    monkeypatch.setenv("KERAS_HOME", str(home / "keras"))
    for name, value in {
        "ACCESS_KEY_ID": "testing",
        "SECRET_ACCESS_KEY": "testing",
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def one_policy() -> str:
    """Give the one policy of AWS's own that is used: moto parses all of them again for every request's account."""
    pytest.importorskip("moto", reason=NO_MOTO)
    import moto.iam.models

    name = "AmazonEMRServicePolicy_v2"
    return json.dumps({name: json.loads(moto.iam.models.aws_managed_policies_data)[name]})


@pytest.fixture
def double(home: Path, monkeypatch: pytest.MonkeyPatch, one_policy: str) -> Iterator[None]:
    """Start moto, empty."""
    from moto import mock_aws

    complete_moto(monkeypatch)
    monkeypatch.setattr("moto.iam.models.aws_managed_policies_data", one_policy)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # thousands, again for each region
    monkeypatch.setattr(stacks, "_EVERY", 0.05)
    monkeypatch.setattr(steps, "_EVERY", 0.05)
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield


# How policies call services and requests, where that is not how boto3 does.
_SERVICES = {"emr": "elasticmapreduce", "resourcegroupstaggingapi": "tag", "service-quotas": "servicequotas"}
_PARTS = dict.fromkeys(("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "PutObject")
_ACTIONS = _PARTS | {
    "DeleteObjects": "DeleteObject",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
}


@pytest.fixture
def cloud(double: None, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cloud:
    """Give what runs a command, and fails if the command asks for something that neither policy allows."""
    from botocore.client import BaseClient

    policies = [json.loads(file.read_text()) for file in (POLICY_FILE, IMAGE_POLICY_FILE)]
    allowed = {action for policy in policies for entry in policy["Statement"] for action in entry["Action"]}
    call = BaseClient._make_api_call

    def run(*arguments: str) -> Done:
        asked = set()

        def record(self: Any, name: str, request: Any) -> Any:
            service = self.meta.service_model.service_name
            asked.add(f"{_SERVICES.get(service, service)}:{_ACTIONS.get(name, name)}")
            return call(self, name, request)

        monkeypatch.setattr(sys, "argv", ["aws_setup.sh", *arguments, "--yes"])
        with monkeypatch.context() as patch:
            if BaseClient._make_api_call is call:
                patch.setattr(BaseClient, "_make_api_call", record)
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        refused = {action for action in asked if not any(fnmatch(action, pattern) for pattern in allowed)}
        assert refused == set()
        return Done(int(ended.value.code or 0), out, err)

    return Cloud(home, run)


@pytest.fixture
def with_bucket(cloud: Cloud) -> Cloud:
    assert cloud.run("create-bucket", BUCKET).code == 0
    return cloud


@pytest.fixture
def filled(with_bucket: Cloud, fruit_folder: Path) -> Cloud:
    """Give a bucket with code, images and a model, as `upload-dataset` brings them."""
    prepare_model(with_bucket.home)
    assert with_bucket.run("upload-dataset", str(fruit_folder), "--files").code == 0
    return with_bucket


@pytest.fixture
def with_cluster(filled: Cloud) -> Cloud:
    done = filled.run("create-cluster", *CIDR)
    assert (done.code, done.err) == (0, "")
    return filled


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start moto's server, empty, in this process."""
    from moto.server import ThreadedMotoServer

    complete_moto(monkeypatch)
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, one_policy: str) -> Iterator[str]:
    monkeypatch.setattr("moto.iam.models.aws_managed_policies_data", one_policy)
    with serve(monkeypatch) as url:
        yield url
