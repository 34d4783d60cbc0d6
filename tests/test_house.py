"""The rules of the house: who may import whom, where a fact lives, what is in git."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

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
ON_WORKERS = ("fruits.features.udf", "fruits.features.store", "fruits.moments", "fruits.pca")


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
            assert node.end_lineno - node.lineno + 1 <= 40, f"{name_of(module)}: {node.name}"
    heavy = {used.split(".")[0] for used in imports_of(tree.body)}
    assert not heavy & (FRAMEWORKS | {"pyspark", "papermill"}), "heavy imports belong in the function that needs them"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_facts_have_one_home(module: Path) -> None:
    name, text = name_of(module), module.read_text()

    homes = {
        "s3://": "fruits/folders.py",
        '"spark.sql.': "fruits/session.py",
        "import yaml": "fruits/params.py",
        "sys.exit": "fruits_cli/cli.py",
    }
    for fact, home in homes.items():
        assert fact not in text or name == home, f"{fact} belongs in {home}"
    frameworks = {used.split(".")[0] for used in imports_of(ast.walk(ast.parse(text)))} & FRAMEWORKS
    assert frameworks <= USES_FRAMEWORKS.get(name, set()), f"{name} imports {frameworks}"


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


def pins() -> list[str]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]


def test_conda_environment_has_the_pins_of_the_project() -> None:
    *base, pip = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]

    assert base == ["python=3.11", "openjdk=17", "pip"]
    assert pip["pip"] == [*pins(), "-e ."]


def test_lock_has_the_pins_of_the_project() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text().splitlines()
    locked = {line.split(" ")[0] for line in lock if "==" in line and not line.startswith((" ", "#"))}

    assert {pin.split(";")[0] for pin in pins()} <= locked
    assert "://" not in "".join(line for line in lock if not line.lstrip().startswith("#"))
