"""The command `fruits` as a person types it: what is refused ends soon, in one sentence, with its exit code."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from conftest import put
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fruits import __version__
from fruits.notebook import WARNINGS
from fruits.ownership import write_marker
from fruits.params import RunParams, load_params
from fruits_cli import cli, process
from fruits_cli.commands import storage

FRUITS = str(Path(sys.executable).with_name("fruits"))


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Fruits = Callable[..., Done]


@pytest.fixture
def fruits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fruits:
    """Run the command without Keras's cache or internet, in another folder, in this process."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    # Streams and signals are pytest's.
    monkeypatch.setattr(process, "open_outputs", lambda: None)
    monkeypatch.setattr(process, "_STOPS", {})
    monkeypatch.setattr("fruits_cli.run.execute_notebook", None)  # a run that is not refused must not start

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["fruits", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        return Done(int(code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def places(tmp_path: Path, fruit_folder: Path) -> list[str]:
    """Give the options of a run that would read and write in the temporary folder only."""
    folders = {"input_dir": fruit_folder, "output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    settings = [f"--set={key}={folder}" for key, folder in folders.items()]
    return ["--target", "local", "--set=weights=random", *settings]


def check_refusal(done: Done, *, code: int, message: str) -> None:
    assert message in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    # A run says at once what it does.
    assert all(line.endswith("first checks") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "[OPTIONS] COMMAND [ARGS]"),
        (["bake"], "No such command 'bake'"),
        (["run"], "Missing argument 'MODE'"),
        (["run", "MINY"], "unknown mode 'MINY'; allowed: APPLES, FULL, MINI, "),
        (["run", "MINI", "--target", "moon"], "'moon' is not one of 'sample', 'local', 'emr'"),
        (["run", "MINI", "--set", "max_images"], "allowed: KEY=VALUE"),
        (["run", "MINI", "--set", "max_imgs=5"], "--set: max_imgs = 5: unknown; allowed: mode, classes, max_images"),
        (
            ["run", "MINI", "--set", "max_imgs=5", "--set", "mode=FULL"],
            "mode = 'FULL': must equal the file's name, MINI",
        ),
        (["run", "MINI", "--set", "pca_components=0"], "pca_components = 0: allowed: an integer >= 1"),
        (["run", "MINI", "--set", "classes=[", "--set", "seed=1"], "not valid YAML"),
        (["run", "MINI", "--set", "seed=2020-13-45"], "seed=2020-13-45"),
        (["fetch", "MINI", "--set", "max_imgs=5"], "max_imgs = 5: unknown"),
        (["fetch", "MINI", "--zip", "none.zip", "--set", "input_dir=in"], "none.zip"),
        (["fetch", "MINI", "--set", "input_dir=/x/MINI", "--set", "output_dir=/x"], "is the input"),
        (["pack", "nowhere", "new"], "cannot be listed"),
        (["pack", "/proc", "s3://"], "names no bucket"),
    ],
)
def test_wrong_usage_exits_2(fruits: Fruits, arguments: list[str], message: str) -> None:
    check_refusal(fruits(*arguments), code=2, message=message)


@pytest.mark.parametrize(
    ("setting", "message", "code"),
    [
        ("input_dir=/nowhere", "no folder /nowhere/Training", 2),
        ("output_dir=gs://bucket/data", "gs://bucket/data is no folder on this machine", 2),
        ("weights=imagenet", ".h5 file, or set weights=random", 1),
    ],
)
def test_run_that_cannot_begin_is_refused_before_it_writes(
    fruits: Fruits, places: list[str], tmp_path: Path, setting: str, message: str, code: int
) -> None:
    done = fruits("run", "MINI", *places, "--set", setting)
    check_refusal(done, code=code, message=message)
    assert len(done.stderr.splitlines()) == 1
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".jpg" and path.name != ".in-use"
    ] == []


def test_fetch_takes_what_the_mode_needs_and_says_where_it_lies(fruits: Fruits, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cwd/fruits.zip", "w") as archive:
        for label in ("Apple Red 1", "Kiwi"):
            archive.writestr(f"fruits-360_dataset/fruits-360/Training/{label}/0_100.jpg", b"pixels")
    done = fruits("fetch", "APPLES", "--zip", "fruits.zip", "--set", f"input_dir={tmp_path}/in")
    assert (done.returncode, [path.name for path in tmp_path.glob("in/*/*")]) == (0, ["Apple Red 1"])
    assert done.stdout.splitlines() == [
        "1 images wanted, 0 were there, 1 fetched.",
        f"Images: {tmp_path}/in/Training",
    ]


def test_evaluate_runs_what_is_finished(
    fruits: Fruits, places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fruits("evaluate", "mine", *places)
    missing = f"there is no report of a finished run in {tmp_path}/reports/local/mine"
    message = f"{missing}; run it first: fruits run mine --target local."
    check_refusal(done, code=2, message=message)
    params = load_params("MINI", "local", dict(place[6:].split("=") for place in places[2:]) | {"name": "mine"})
    write_marker(params.results_dir, owner={})
    put(params.report_folder, "manifest.json", content=json.dumps({"params": vars(params)}).encode())
    ran = []

    def note(params: RunParams, **_: object) -> Path:
        ran.append(params)
        return params.report_folder / "run.html"

    monkeypatch.setattr("fruits_cli.run.run_pipeline", note)
    monkeypatch.setattr("fruits_cli.summary.describe_run", lambda *_, report, **__: [f"Report: {report}"])
    done = fruits("evaluate", "mine", "--against", "Test", *places)
    assert (done.returncode, ran) == (0, [replace(params, evaluate=True, against="Test")])
    assert done.stdout.endswith(f"Report: {params.report_folder}/run.html\n")


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "<&- >&- 2>&-", "| head -c1 >/dev/null"])
def test_nothing_that_is_printed_fails_a_command(fruit_folder: Path, tmp_path: Path, redirect: str) -> None:
    environ = {"PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    words = [FRUITS, "pack", str(fruit_folder), str(tmp_path / "gepackt_\u00e9")]
    shell = ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {redirect}', *words]
    done = subprocess.run(shell, env=os.environ | environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "gepackt_\u00e9").exists()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("mode"), "fruits: unexpected KeyError: 'mode'. Trace: "),
        (RecursionError("too deep\nby far"), "fruits: unexpected RecursionError: too deep. Trace: "),
        (MemoryError(), "fruits: there is not enough memory"),
        (OSError(5, "Input/output error", "/mnt/x"), "fruits: /mnt/x: Input/output error; check the folders"),
        (UnicodeEncodeError("ascii", "\udcea", 0, 1, "no"), "fruits: unexpected UnicodeEncodeError: 'ascii' codec"),
        (KeyError("AKIAIOSFODNN7EXAMPLE"), "fruits: unexpected KeyError: '[redacted]'. Trace: "),
    ],
)
def test_whatever_is_raised_ends_in_a_sentence_and_a_trace_that_it_names(
    fruits: Fruits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(storage, "load_params", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = fruits("fetch", "MINI")
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    (trace,) = tmp_path.glob("fruits-*.log")
    assert done.stderr.rstrip().endswith(f"Trace: {trace}")
    assert "in fail" in trace.read_text()
    assert "AKIA" not in trace.read_text()
    monkeypatch.setattr("tempfile.NamedTemporaryFile", open)  # no place for the trace costs the trace alone
    assert fruits("fetch", "MINI").stderr == done.stderr.replace(f" Trace: {trace}", "")


def test_version_and_help_exit_0_and_do_not_depend_on_docstrings(fruits: Fruits) -> None:
    assert __version__ in fruits("--version").stdout
    assert "--images FOLDER" in fruits("run", "-h").stdout
    assert "default: local" in fruits("fetch", "--help").stdout  # no real images in the sample
    environ = os.environ | {"PYTHONOPTIMIZE": "2"}
    done = subprocess.run([FRUITS, "pack", "-h"], env=environ, capture_output=True, text=True, check=True)
    assert "Bundle the images" in done.stdout


def test_pack_says_what_it_did_and_refuses_in_a_sentence(fruits: Fruits, fruit_folder: Path, tmp_path: Path) -> None:
    done = fruits("pack", str(fruit_folder), "packed")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("12 images packed into 1 shards, 0.0 MiB: ")
    assert [file.name for file in (tmp_path / "cwd/packed").iterdir()] == ["images-00000.parquet"]
    check_refusal(fruits("pack", "packed", "again"), code=2, message="is packed already")
    done = fruits("pack", str(fruit_folder), "/proc/fruits/new")
    check_refusal(done, code=1, message="/proc/fruits")  # what the system refuses
    assert done.stderr.count("\n") == 1


def test_report_renders_a_notebook_that_papermill_ran(fruits: Fruits, tmp_path: Path) -> None:
    source, executed = tmp_path / "source.ipynb", tmp_path / "cwd/done.v1.ipynb"
    cells = [new_markdown_cell("# Sums"), new_code_cell("x = 41", metadata={"tags": ["parameters"]})]
    cells.append(new_code_cell(f"print({WARNINGS[False, True]!r})", metadata={"tags": ["hide"]}))
    nbformat.write(new_notebook(cells=[*cells, new_code_cell("print(x + 1, 'AKIAIOSFODNN7EXAMPLE')")]), source)
    papermill.execute_notebook(source, executed, kernel_name="python3", progress_bar=False)
    before = executed.read_bytes()

    done = fruits("report", executed.name)
    assert (done.returncode, done.stdout) == (0, f"fruits: the page is {executed.with_suffix('.html')}\n")
    page = executed.with_suffix(".html").read_text()
    assert "42 [redacted]" in page
    assert "<h1" in page
    assert "x = 41" not in page
    assert page.count(WARNINGS[False, True]) == 1  # the box at the top
    assert fruits("report", str(executed), "--output", "other/page.html").returncode == 0
    assert (tmp_path / "cwd/other/page.html").read_text() == page
    done = fruits("report", executed.name, "--output", executed.name)
    check_refusal(done, code=2, message="would replace a notebook")
    assert executed.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.ipynb", None, "none.ipynb cannot be read (No such file or directory); name an executed notebook"),
        (".", None, "cannot be read (Is a directory)"),
        ("text.ipynb", "hello", "text.ipynb is not a notebook; name an executed notebook"),
        ("list.ipynb", "[1]", "list.ipynb is not a notebook"),
        (
            "plain.ipynb",
            nbformat.writes(new_notebook(cells=[new_code_cell("1", id="one")])),
            "plain.ipynb has no outputs; run it",
        ),
    ],
)
def test_report_refuses_what_is_no_executed_notebook(
    fruits: Fruits, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "cwd" / name).write_text(content, encoding="latin-1")
    check_refusal(fruits("report", name, "--output", "page.html"), code=2, message=message)
    assert not list(tmp_path.rglob("*.html"))
