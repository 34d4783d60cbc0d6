"""The rules of the house: who may import whom, where a fact lives, what is in git."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from fruits import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARY = REPOSITORY / "lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
ROOMS = {entry.stem for entry in (LIBRARY / "fruits").iterdir()} - {"__init__"}

FRAMEWORKS = {"tensorflow", "keras", "ai_edge_litert"}
USES_FRAMEWORKS = {
    "fruits/features/engines.py": {"ai_edge_litert", "tensorflow"},
    "fruits/features/keras_model.py": {"keras", "tensorflow"},
    "fruits/features/weights.py": {"keras"},
}
NOT_ON_WORKERS = {
    *("tensorflow", "keras", "ai_edge_litert", "matplotlib", "papermill", "nbconvert", "click", "pandas", "scipy"),
    *("requests", "sklearn"),
}
# What a task needs: the functions that are sent to workers, by name.
ON_WORKERS = (
    *("fruits.features.udf", "fruits.features.store", "fruits.moments", "fruits.pca"),
    *("fruits.quality.nearest", "fruits.quality.probe"),
)


def name_of(module: Path) -> str:
    return module.relative_to(LIBRARY).as_posix()


def imports_of(nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_rooms_import_one_another_in_one_direction() -> None:
    """`fruits` stands alone; its modules and sub-packages have an order, in which each imports earlier ones only."""
    used: dict[str, set[str]] = {}
    for module in sorted((LIBRARY / "fruits").rglob("*.py")):
        room = module.relative_to(LIBRARY / "fruits").with_suffix("").parts[0]
        imported = {name for name in imports_of(ast.walk(ast.parse(module.read_text()))) if name.startswith("fruits")}
        assert not any(name.startswith("fruits_cli") for name in imported), module
        rooms = {name.split(".")[1] for name in imported if "." in name} & ROOMS
        if room != "__init__":
            used.setdefault(room, set()).update(rooms - {room})
    TopologicalSorter(used).prepare()  # raises CycleError


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_keeps_its_size(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)

    assert text.count("\n") <= 250
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno + 1 <= 40, f"{name_of(module)}: {node.name}"
    heavy = {used.split(".")[0] for used in imports_of(tree.body)}
    assert not heavy & (FRAMEWORKS | {"pyspark", "papermill"}), "heavy imports belong in the function that needs them"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_facts_have_one_home(module: Path) -> None:
    name, text = name_of(module), module.read_text()

    homes = {
        "s3://": "fruits/folders.py",
        '"spark.sql.': "fruits/session.py",
        "import yaml": "fruits/yaml_text.py",
        "sys.exit": "fruits_cli/process.py",
    }
    for fact, home in homes.items():
        assert fact not in text or name == home, f"{fact} belongs in {home}"
    roots = {used.split(".")[0] for used in imports_of(ast.walk(ast.parse(text)))}
    assert roots & FRAMEWORKS <= USES_FRAMEWORKS.get(name, set()), f"{name} imports {roots & FRAMEWORKS}"
    assert not roots & {"emr", "boto3"}, "the library never imports the AWS side"


def test_workers_import_little() -> None:
    code = f"import sys, {', '.join(ON_WORKERS)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not NOT_ON_WORKERS & set(done.stdout.split())


def test_the_package_is_in_git() -> None:
    ignored = ["git", "-C", str(REPOSITORY), "check-ignore", "lib/fruits/__init__.py", "notebooks/pipeline.ipynb"]
    assert subprocess.run(ignored, check=False, capture_output=True).stdout == b""


def test_no_run_left_anything_in_git() -> None:
    tracked = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files"], check=True, capture_output=True, text=True)
    parts = {part for name in tracked.stdout.splitlines() for part in name.split("/")}
    assert not parts & {"~", ".in-use", ".ipynb_checkpoints", "__pycache__", ".keras"}


def list_hooks() -> dict[str, list[str]]:
    """Return the words of each hook; all are programs of .venv, which the lock pins."""
    (repository,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    return {hook["id"]: hook["entry"].split() for hook in repository["hooks"]}


NOTEBOOK = """{"cells": [{"cell_type": "code", "execution_count": 3, "id": "a", "metadata": {}, "outputs": [],
"source": []}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}"""
REFUSED = {
    "ruff-check": ("a.py", "import os\n"),
    "ruff-format": ("a.py", "a = 'b'\n"),
    "nbstripout": ("a.ipynb", NOTEBOOK),
    "large-files": ("a.bin", "1" * 501 * 1024),
    "private-keys": ("a.txt", "-----BEGIN RSA " + "PRIVATE KEY-----\n"),
    "merge-conflicts": ("a.txt", "<<<<<<<" + " HEAD\n"),
    "yaml": ("a.yaml", "a: [\n"),
    "toml": ("a.toml", "a = \n"),
    "hadolint": ("Dockerfile", "FROM debian\n"),
    "mypy": ("a.py", "a: int = ''\n"),
}


@pytest.mark.parametrize("hook", list_hooks())
def test_each_hook_refuses_what_it_is_for(tmp_path: Path, hook: str) -> None:
    name, content = REFUSED[hook]
    (tmp_path / name).write_text(content)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    program, *options = list_hooks()[hook]
    done = subprocess.run([REPOSITORY / program, *options, name], cwd=tmp_path, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")


def test_lint_has_the_rules_of_the_hooks() -> None:
    makefile = re.sub(r"\t.*\| xargs -0 ", "\t", (REPOSITORY / "Makefile").read_text())
    rules = makefile.partition("\nlint: ")[2].partition("\n\n")[0].replace("$(BIN)", ".venv/bin")
    assert rules.count("\n\t") == len(list_hooks())
    for words in list_hooks().values():
        assert "\n\t" + " ".join(word for word in words if word != "--force-exclude") in rules
    assert yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["exclude"] == "^reports/example/"


def test_git_strips_notebooks_and_keeps_line_ends() -> None:
    check = ["git", "check-attr", "filter", "eol", "--", "notebooks/pipeline.ipynb"]
    done = subprocess.run(check, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines()] == ["nbstripout", "lf"]


def test_citation_and_changelog_name_the_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", __version__)
    assert f"\n## [{__version__}] - " in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", ["documentation/ARCHITECTURE.md", "documentation/RELIABILITY.md", "README.md"])
def test_documents_name_modules_and_tests_that_exist(document: str) -> None:
    text = (REPOSITORY / document).read_text()
    tracked = [file.as_posix() for folder in (LIBRARY, REPOSITORY / "tests") for file in folder.rglob("*.py")]
    named = re.findall(r"\b(?:fruits(?:_cli)?/[a-z_/]+|[a-z_/]*test_[a-z_0-9]+)\.py", text)
    assert {name for name in named if not any(file.endswith(name.removeprefix("sur/")) for file in tracked)} == set()
