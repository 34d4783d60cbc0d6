"""`build-image` with the real sm-docker against moto, which ends a build at once and pushes nothing by itself."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from cloud import BUCKET, Done
from dockerfile import DIGEST
from emr.cli import main

from fruits.params import repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (repository() / ".image/.ready").is_file(), reason="no sm-docker: make image-env"),
]
pytest_plugins = ("cloud_fixtures",)
NAME = "sagemaker-studio-fruits"
Aws = Callable[..., Done]


@pytest.fixture
def aws(endpoint: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["aws_setup.sh", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    assert run("create-bucket", BUCKET).code == 0
    return run


@pytest.fixture
def ecr(endpoint: str) -> Any:
    return boto3.client("ecr", endpoint_url=endpoint, region_name="eu-west-1")


def put_image(ecr: Any, tag: str, size: int) -> None:
    layers = [{"mediaType": "a", "size": size, "digest": DIGEST}]
    manifest = {"schemaVersion": 2, "mediaType": "b", "config": layers[0], "layers": layers}
    ecr.put_image(repositoryName=NAME, imageTag=tag, imageManifest=json.dumps(manifest))


@pytest.fixture
def builds(ecr: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let each build push an image; return what it was asked and given: project, and source as a zip file."""
    from moto.codebuild.models import CodeBuildBackend
    from moto.s3.models import s3_backends

    start, seen = CodeBuildBackend.start_build, []

    def push(self: CodeBuildBackend, project_name: str, *more: Any, **options: Any) -> Any:
        project = self.codebuild_projects[project_name].project_metadata
        bucket, key = project["source"]["location"].split("/", 1)
        source = s3_backends[self.account_id]["aws"].get_object(bucket, key).value
        seen.append((project, zipfile.ZipFile(io.BytesIO(source))))
        variables = {entry["name"]: entry["value"] for entry in project["environment"]["environmentVariables"]}
        put_image(ecr, variables["IMAGE_TAG"], 10**9 + len(seen))
        return start(self, project_name, *more, **options)

    monkeypatch.setattr(CodeBuildBackend, "start_build", push)
    return seen


def build(aws: Aws, *words: str) -> Done:
    bases = (f"{key}=public.example/base@{DIGEST}" for key in ("image_base", "image_base_serverless"))
    return aws("build-image", *words, "--yes", *(f"--set={base}" for base in bases))


def test_a_build_that_brings_no_image_has_failed_though_sm_docker_ends_with_0(aws: Aws, ecr: Any) -> None:
    done = build(aws, "1.0")
    assert done.code == 1
    assert f"the build failed: sm-docker ended with 0, and ECR has no new image {NAME}:1.0" in done.err
    assert "Logs at" in done.out
    put_image(ecr, "1.0", 10**9)
    assert build(aws, "1.0").code == 1, "an earlier image of this tag is no success"


def test_an_image_that_is_pushed_is_told_by_its_digest_and_cleaned_up(aws: Aws, ecr: Any, builds: list[Any]) -> None:
    for words, tag in ((["1.0"], "1.0"), (["1.0"], "1.0"), (["1.0", "--emr-serverless"], "1.0-emr-serverless")):
        done = build(aws, *words)
        assert done.code == 0, done.out + done.err
        assert "EUR" in done.out
        (image,) = ecr.describe_images(repositoryName=NAME, imageIds=[{"imageTag": tag}])["imageDetails"]
        assert f"dkr.ecr.eu-west-1.amazonaws.com/{NAME}@{image['imageDigest']}" in done.out
        assert ("update-domain" in done.out) == (tag == "1.0")
    (project, source), *_, (_, serverless) = builds
    assert project["serviceRole"].endswith(":role/fruits-emr-image")
    assert project["environment"]["computeType"] == "BUILD_GENERAL1_MEDIUM"
    names = {name.partition("/")[0] for name in source.namelist()}
    assert names == {
        *("lib", "notebooks", "params", "docker", "emr", "pyproject.toml", "README.md", "LICENSE", "buildspec.yml")
    }
    (line,) = (line for line in source.read("buildspec.yml").decode().splitlines() if "docker build" in line)
    assert f"--file docker/Dockerfile --target notebook --build-arg BASE_IMAGE=public.example/base@{DIGEST}" in line
    assert b"REQUIREMENTS=emr/requirements-worker.txt" in serverless.read("buildspec.yml")
    assert f"repository/{NAME}  costs money" in aws("audit").out
    assert aws("cleanup", "--yes").code == 0
    assert ecr.describe_repositories()["repositories"] == []
    assert "Nothing of ours costs money" in aws("audit").out
