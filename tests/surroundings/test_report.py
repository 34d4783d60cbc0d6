"""One run among all that can spoil a report: names of classes, and what a user configures for other programs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from fruits import eventlog
from fruits_cli.execution import check_figures

pytestmark = [pytest.mark.notebook, pytest.mark.tensorflow]
FRUITS = Path(sys.executable).with_name("fruits")
CLASSES = [
    "Kiwi $$", "Apple 2$ to 3$", r"$\alpha$ a\b", "_Apple", " ", "*a* _b_ `c` |d|", "<script>x & co",
    "new\nline", "苹果", "تفاح", "सेब", "ཀ", "50% #1 {x}",
]  # fmt: skip
GLOBS = ["*", "[*]a* _b_ `c` |?|"]
RAISES = "raise RuntimeError('the user')"
USERS_FILES = {
    ".ipython/profile_default/startup/00.py": "import pandas; pandas.set_option('display.max_rows', 1)",
    ".ipython/profile_default/startup/10.py": RAISES,
    ".ipython/profile_default/ipython_config.py": "c = get_config()\n"
    "c.InlineBackend.figure_formats = {'pdf'}\nc.InteractiveShell.ast_node_interactivity = 'none'\n"
    "c.InteractiveShellApp.exec_lines = ['import os; os._exit(7)']\n",
    ".config/matplotlib/matplotlibrc": "text.usetex: True\nsavefig.format: pdf\nbackend: TkAgg\n",
    ".config/matplotlib/stylelib/broken.mplstyle": "\x00",
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "x", "language": "R"}',
    ".local/share/jupyter/nbconvert/templates/base/display_priority.j2": "{{ 1 / 0 }}",
    ".jupyter/jupyter_config.py": RAISES,
    ".jupyter/jupyter_nbconvert_config.py": RAISES,
    "startup.py": RAISES,
    "here/matplotlibrc": "text.usetex: True\n",
    "here/random.py": RAISES,
    "here/json.py": RAISES,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, models: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    place = tmp_path_factory.mktemp("report")
    noise = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        folder = place / "images" / "Training" / name
        folder.mkdir(parents=True)
        for image in range(2):
            pixels = noise.integers(0, 255, (20, 20, 3), np.uint8) // (number + 1)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    for name, text in USERS_FILES.items():
        (place / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "home" / name).write_text(text)
    shutil.copytree(models, place / "*out* $1$ `x`" / "models")
    home = place / "home"
    environ = os.environ | {
        "HOME": str(home),
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(home / ".config/matplotlib/matplotlibrc"),
        "MPLCONFIGDIR": "/dev/null/matplotlib",
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_RUNTIME_DIR": "/dev/null/runtime",
        "JUPYTER_DATA_DIR": str(home / ".local/share/jupyter"),
        "JUPYTER_PATH": str(home / ".local/share/jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "JUPYTER_DEFAULT_PROVISIONER": "nobody",
        "PYTHONSTARTUP": str(home / "startup.py"),
    }
    settings = {
        "input_dir": place / "images",
        "output_dir": place / "*out* $1$ `x`",
        "report_dir": place / "reports",
        "classes": json.dumps(GLOBS),
        "weights": "random",
        "spark_master": "local[2]",
    }
    command = [str(FRUITS), "run", "MINI", "--target", "local", *(f"--set={k}={v}" for k, v in settings.items())]
    ended = subprocess.run(command, cwd=home / "here", env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return place / "reports/local/MINI", ended


def test_nothing_of_the_users_is_read(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    report, ended = done
    assert "Traceback" not in ended.stderr
    assert "the user" not in ended.stdout + ended.stderr
    check_figures(report / "run.ipynb")
    page = BeautifulSoup((report / "run.html").read_text(), "html.parser")
    kinds = [str(picture["src"]).split(";")[0] for picture in page.find_all("img")]
    # Photographs are JPEG: the contact sheet, the neighbours of images, the ends of the components.
    assert sorted(kinds) == ["data:image/jpeg"] * 3 + ["data:image/png"] * 4
    assert (report / "variance.png").read_bytes().startswith(b"\x89PNG")
    cells = nbformat.read(report / "run.ipynb", as_version=4).cells
    assert not any("warn" in output.get("text", "").lower() for cell in cells for output in cell.get("outputs", []))


def test_names_are_shown_as_they_are(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    report, _ = done
    page = BeautifulSoup((report / "run.html").read_text(), "html.parser")
    said = [code.get_text() for code in page.find_all("code")]
    assert set(GLOBS) <= set(said)
    assert any(text.endswith("/*out* $1$ `x`/MINI") for text in said)
    assert page.find_all("script") == []
    lack = "The figures have no font for U+0F40 and spell it out in the class names "
    assert f"{lack}ཀ." in page.get_text()
    assert json.loads((report / "manifest.json").read_text())["notes"] == [f"{lack}`ཀ`."]


def test_the_event_log_of_spark_is_kept_whole(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    report, ended = done
    manifest = json.loads((report / "manifest.json").read_text())
    told, log = manifest["spark"], report / "spark" / manifest["spark"]["event_log"]
    kept = {"stages.csv", "executors.csv", "spark.png", log.name}
    assert {file.name for file in (report / "spark").iterdir()} == kept
    assert kept == {name.removeprefix("spark/") for name in list_owned(report) if name.startswith("spark/")}
    run = eventlog.read_event_log(log)
    assert run.summarise() == told
    assert b"SparkListenerApplicationEnd" in list(eventlog.read_lines(log))[-1]
    assert (told["failed_tasks"], told["executors"], told["cores"]) == (0, 1, 2)
    # The broadcast weights hardly shrink.
    assert told["broadcast_bytes"] > 0.8 * manifest["model"]["bytes"]
    pd.testing.assert_frame_equal(pd.read_csv(report / "spark/stages.csv"), run.stages)
    assert "no event log" not in ended.stdout
    cells = {cell.id: cell for cell in nbformat.read(report / "run.ipynb", as_version=4).cells}
    shown = cells["spark-summary"].outputs[0]["data"]["text/plain"]
    assert told["application"] in shown
    assert re.search(rf"^stages +{told['stages']:,}$", shown, re.MULTILINE)
    assert "http://127.0.0.1:" in cells["cell-08"].outputs[0]["data"]["text/plain"]
    page = BeautifulSoup((report / "run.html").read_text(), "html.parser")
    assert page.find("a", href="spark/spark.png")


def list_owned(report: Path) -> list[str]:
    return list(json.loads((report / "run.json").read_text())["files"])
