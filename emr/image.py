"""The image for Studio, JupyterHub and EMR Serverless: built by sm-docker or a Docker engine, looked for in ECR."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fruits
from emr import stacks
from emr.context import SETUP, Context
from emr.costs import estimate_build, format_money
from fruits.aws import read_code
from fruits.errors import FruitsError, UsageError
from fruits.params import repository

DOCKERFILE = "docker/Dockerfile"
APPS = Path("docker/app-image-config.json")
NOTEBOOK, SERVERLESS = "notebook", "emr-serverless"
# `make image-env` builds it.
_TOOL = [".image/bin/python", "-m", "sagemaker_studio_image_build.cli", "build"]
BASE = re.compile(r"[\w.:/-]+@sha256:[0-9a-f]{64}", re.ASCII)
# Without a password, and no folder.
_ADDRESS = re.compile(r"https://[\w.-]+/[\w./-]+", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,100}", re.ASCII)


def build_image(context: Context, tag: str, *, emr_serverless: bool, local: bool) -> dict[str, Any] | None:
    """Build an image of the last commit by CodeBuild, as TAG in ECR: for Studio and JupyterHub, or EMR Serverless."""
    if not _TAG.fullmatch(tag):
        raise UsageError(f"tag {tag!r}: allowed: up to 101 letters, digits, _, . and -, the first a letter or a digit.")
    target = SERVERLESS if emr_serverless else NOTEBOOK
    name = f"sagemaker-studio-{context.settings.name}:{tag}{f'-{SERVERLESS}' if emr_serverless else ''}"
    arguments = [".", "--file", DOCKERFILE, "--target", target, *_list_build_arguments(context, target)]
    if local:
        command = ["docker", "build", "--tag", name, *arguments]
        if context.dry_run:
            return {"runs": command}
        _build_locally(context, command)
        return None
    parameters = stacks.fill_parameters(context.settings, "name", BucketName=context.bucket)
    command = [*_TOOL, *arguments, "--repository", name, "--compute-type", context.settings.image_compute, "--no-logs"]
    command += ["--bucket", context.bucket, "--role", f"{context.settings.name}-emr-image"]
    if context.dry_run:
        _tell_price(context)
        return {"stacks": [stacks.plan(context, "image", parameters)], "runs": command, "sends": list_sent()}
    tool = repository() / _TOOL[0]
    if not tool.is_file():
        raise UsageError("sm-docker is not installed; run: make image-env")
    context.client("ecr")  # refuses a wrong account before any question
    _tell_price(context)
    context.ask(f"Build {name} now?")
    stacks.finish(context, stacks.begin(context, "image", parameters))
    _build_by_codebuild(context, [str(tool), *command[1:]], name)
    return None


def _list_build_arguments(context: Context, target: str) -> list[str]:
    """Return the Dockerfile's arguments; a UsageError refuses a base image that is not known by its digest."""
    key = "image_base" if target == NOTEBOOK else "image_base_serverless"
    base = getattr(context.settings, key)
    if not BASE.fullmatch(base):
        raise UsageError(
            f"{key} is {base!r}; it must be NAME@sha256:DIGEST, so that the same image is built again. Set it in "
            f"emr/cluster.yaml or by --set {key}=...; docker/README.md says how to find the digest."
        )
    values = {"BASE_IMAGE": base, "VERSION": fruits.__version__, **read_origin(context)}
    if target == SERVERLESS:
        values["REQUIREMENTS"] = "emr/requirements-worker.txt"
    return [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]


def read_origin(context: Context) -> dict[str, str]:
    """Return and tell the last commit, which the image holds; with its public address, if it has one."""
    commit, address = _ask_git("rev-parse", "HEAD"), _ask_git("config", "--default", "", "--get", "remote.origin.url")
    changed = " Your changes since then are not in it." if _ask_git("status", "--porcelain") else ""
    context.say(f"The image holds commit {commit[:12]}.{changed}")
    return {"REVISION": commit, "SOURCE": address if _ADDRESS.fullmatch(address) else ""}


def list_sent() -> list[str]:
    """Return what is sent to the build: what `.dockerignore` lets in, and the Dockerfile."""
    lines = (repository() / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [*(line[1:] for line in lines if line.startswith("!")), DOCKERFILE]


def write_context(folder: Path) -> None:
    """Write the last commit's files of the build into a folder: sm-docker would send the whole of this one."""
    with TemporaryDirectory() as name:
        file = Path(name) / "commit.tar"
        _ask_git("archive", "HEAD", f"--output={file}", *list_sent())
        shutil.unpack_archive(file, folder, filter="data")


def _ask_git(*words: str) -> str:
    command = ["git", *words]
    try:
        return subprocess.run(command, cwd=repository(), check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise FruitsError(f"the image is made of a commit, and git gave none: {said}. Use a clone of git.") from error


def _tell_price(context: Context) -> None:
    cost, settings = estimate_build(context.settings), context.settings
    context.say(
        f"CodeBuild ({settings.image_compute}): {format_money(cost.build, settings)} for about {cost.minutes:.0f} min; "
        f"ECR: {format_money(cost.month, settings)} a month for each image that is kept. These are estimates "
        f"(emr/cluster.yaml marks what is assumed)."
    )


def _build_by_codebuild(context: Context, command: list[str], name: str) -> None:
    """Run sm-docker, which ends with 0 whatever became of the build, and look for a new image in ECR."""
    before = _find_image(context, name)
    region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), context.settings.region)
    with TemporaryDirectory() as folder:
        write_context(Path(folder))
        done = subprocess.run(command, cwd=folder, env=os.environ | region, check=False)
    image = _find_image(context, name)
    if done.returncode or image is None or image == before:
        raise FruitsError(
            f"the build failed: sm-docker ended with {done.returncode}, and ECR has no new image {name}. The address "
            "after `Logs at` above shows what Docker said."
        )
    stack = stacks.find(context, "image")
    address = f"{stack.outputs['Repository']}@{image['imageDigest']}" if stack else name
    context.say(f"{name} is in ECR, {image['imageSizeInBytes'] / 1e9:.2f} GB: {address}")
    if not name.endswith(SERVERLESS):
        context.say(describe_next_steps(context, address))


def _find_image(context: Context, name: str) -> dict[str, Any] | None:
    """Return what makes an image of ECR another one: digest, time, size."""
    from botocore.exceptions import ClientError

    place, _, tag = name.partition(":")
    try:
        found = context.client("ecr").describe_images(repositoryName=place, imageIds=[{"imageTag": tag}])
    except ClientError as error:
        if read_code(error) not in ("ImageNotFound", "RepositoryNotFound"):
            raise
        return None
    return {key: found["imageDetails"][0].get(key) for key in ("imageDigest", "imagePushedAt", "imageSizeInBytes")}


def describe_next_steps(context: Context, address: str) -> str:
    """Return the commands that attach the image to a Studio domain."""
    settings = context.settings
    app = json.loads((repository() / APPS).read_text(encoding="utf-8"))[0]
    custom = {"ImageName": settings.name, "AppImageConfigName": app["AppImageConfigName"]}
    steps = [
        ["create-image", "--image-name", settings.name, "--role-arn", "ROLE"],
        ["create-image-version", "--image-name", settings.name, "--base-image", address],
        ["create-app-image-config", "--cli-input-json", json.dumps(app)],
        ["update-domain", "--domain-id", "DOMAIN", "--default-user-settings"],
    ]
    steps[-1].append(json.dumps({"JupyterLabAppSettings": {"CustomImages": [custom]}}))
    lines = [f"  {shlex.join(['aws', 'sagemaker', *step, '--region', settings.region])}" for step in steps]
    return "\n".join(
        [
            "To offer it in a Studio domain (ROLE: the domain's execution role; the last command replaces the list of "
            "the domain's images):",
            *lines,
        ]
    )


def _build_locally(context: Context, command: list[str]) -> None:
    """Build by the Docker engine of this machine."""
    docker = shutil.which(command[0])
    done = subprocess.run([docker, "version"], check=False, capture_output=True, text=True) if docker else None
    if done is None or done.returncode:
        why = f" ({' '.join(done.stderr.split())})" if done else ""
        raise FruitsError(f"no Docker engine answers here{why}. Start one, or let AWS build: {SETUP} build-image TAG")
    with TemporaryDirectory() as folder:
        write_context(Path(folder))
        if subprocess.run(command, cwd=folder, check=False).returncode:
            raise FruitsError("the build failed; see Docker's lines above.")
    name = command[3]
    start = "" if name.endswith(SERVERLESS) else f" To start it: docker run --rm --publish 8888:8888 {name}"
    context.say(f"Built: {name}.{start}")
