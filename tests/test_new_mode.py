"""A new mode is one new file in params/: everything that reads modes takes it, and nothing else has to be changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """Copy what a run needs of the repository, and add two modes: at most 40 images, and any number."""
    root = tmp_path_factory.mktemp("copy")
    for folder in ("lib", "emr", "notebooks", "params"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "emr.yaml"))
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    shutil.copytree(models, root / "data/sample/models")
    mini = yaml.safe_load((root / "params/MINI.yaml").read_text())
    for mode, most in (("PEARS", 40), ("KIWIS", 0)):
        text = yaml.safe_dump(mini | {"mode": mode, "classes": ["Kiwi"], "max_images": most, "pca_components": 5})
        (root / f"params/{mode}.yaml").write_text(text)
    (root / ".fruits-aws.json").write_text('{"bucket": "fruits-mine"}')
    return root


def run(copy: Path, *words: str) -> str:
    env = os.environ | {"PYTHONPATH": f"{copy / 'lib'}:{copy}"}
    done = subprocess.run([sys.executable, *words], cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_runs_it(copy: Path) -> None:
    fruits = ("-c", "from fruits_cli.cli import main; main()")
    said = run(copy, *fruits, "run", "PEARS", "--set=evaluate=false")
    assert f"Report:  {copy}/reports/sample/PEARS/run.html" in said
    manifest = json.loads((copy / "reports/sample/PEARS/manifest.json").read_text())
    assert (manifest["params"]["mode"], manifest["counts"]["features"], manifest["pca"]["kept"]) == ("PEARS", 22, 5)
    assert (copy / "data/sample/PEARS/pca/csv/pca.csv").is_file()
    run(copy, *fruits, "clean", "--target", "sample")


def test_the_cluster_takes_it(copy: Path) -> None:
    plan = json.loads(run(copy, "-m", "emr", "run", "KIWIS", "--dry-run"))
    assert "KIWIS" in plan["step"]["Name"]
    run(copy, "-m", "emr", "download-results", "KIWIS", "--dry-run")


def test_its_cost_is_predicted_as_that_of_full(copy: Path) -> None:
    """The number of its images is not known."""
    lines = run(copy, "-m", "emr", "cost").splitlines()
    assert "modes of unknown size are estimated as FULL" in lines[0]
    predicted = {line.split()[0]: line.split()[1:] for line in lines if " min  " in line}
    assert predicted["KIWIS"] == predicted["PEARS"] == predicted["FULL"]
