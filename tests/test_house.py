"""The rules of the house: who may import whom, where a fact lives, what is in git."""

import ast
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARY = REPOSITORY / "lib" / "fruits"
MODULES = sorted(LIBRARY.rglob("*.py"))

# A module imports from floors below its own only, or from its own.
FLOORS = [
    {"errors"},
    {"arrow", "exchange", "java", "redaction", "failures", "locks", "remote", "streams"},
    {"storage", "jvm"},
    {"params", "places", "foreign", "spelling"},
    {"marker", "session", "progress", "cluster"},
    {"images"},
    {"features"},
    {"moments"},
    {"pca"},
    {"results", "plots", "manifest"},
    {"preflight"},
    {"leftovers", "reporting"},
    {"cli"},
]
FRAMEWORKS = {"tensorflow", "keras", "ai_edge_litert"}
USES_FRAMEWORKS = {
    "features/engines.py": {"ai_edge_litert", "tensorflow"},
    "features/keras_model.py": {"keras", "tensorflow"},
    "features/weights.py": {"keras"},
}
NOT_ON_WORKERS = {"tensorflow", "keras", "matplotlib", "papermill", "nbconvert", "click", "pandas"}
ON_WORKERS = [
    "arrow.py",
    "images/classes.py",
    "images/decode.py",
    "images/formats.py",
    "images/ignored.py",
    "images/packed.py",
    "images/source.py",
    "images/tiff.py",
    "features/engines.py",
    "features/extract.py",
    "features/backbone.py",
    "features/stored.py",
    "moments.py",
    "pca.py",
]


def name_of(module: Path) -> str:
    return module.relative_to(LIBRARY).as_posix()


def room_of(dotted: str) -> str:
    return dotted.split(".")[1] if "." in dotted else ""


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports_of(nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" if node.module == "fruits" else node.module for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_keeps_its_floor_and_size(module: Path) -> None:
    text = module.read_text()
    tree = ast.parse(text)
    room = module.relative_to(LIBRARY).with_suffix("").parts[0]

    if room != "__init__":
        for used in imports_of(ast.walk(tree)):
            if used.startswith("fruits.") and room_of(used) not in {"__version__", room}:
                assert floor_of(room_of(used)) < floor_of(room), f"{name_of(module)} imports {used}"
    assert text.count("\n") <= 250
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 40, f"{name_of(module)}: {node.name}"
    heavy = {used.split(".")[0] for used in imports_of(tree.body)}
    assert not heavy & (FRAMEWORKS | {"pyspark", "papermill"}), "heavy imports belong in the function that needs them"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_facts_have_one_home(module: Path) -> None:
    name, text = name_of(module), module.read_text()

    homes = {"s3://": "storage.py", '"spark.sql.': "session.py", "import yaml": "params.py", "sys.exit": "cli.py"}
    for fact, home in homes.items():
        assert fact not in text or name == home, f"{fact} belongs in {home}"
    frameworks = {used.split(".")[0] for used in imports_of(ast.walk(ast.parse(text)))} & FRAMEWORKS
    assert frameworks <= USES_FRAMEWORKS.get(name, set()), f"{name} imports {frameworks}"


@pytest.mark.parametrize("name", ON_WORKERS)
def test_workers_need_little(name: str) -> None:
    used = {name.split(".")[0] for name in imports_of(ast.parse((LIBRARY / name).read_text()).body)}
    assert not used & NOT_ON_WORKERS


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
