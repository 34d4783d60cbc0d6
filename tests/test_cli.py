"""The command `fruits` as a person types it: what is refused ends soon, in one sentence, with its exit code."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fruits import __version__
from fruits.notebook import WARNINGS

FRUITS = str(Path(sys.executable).with_name("fruits"))
SECONDS = 15  # the contract's limit for a refusal
Fruits = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fruits(tmp_path: Path) -> Fruits:
    """Run the installed command without Java settings, Keras's cache or internet, in another folder."""
    (tmp_path / "cwd").mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "JAVA_HOME" and "proxy" not in name.lower()}
    environ |= {"KERAS_HOME": str(tmp_path / "keras"), "https_proxy": "http://127.0.0.1:9"}

    def run(*arguments: str, java_home: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        command = [FRUITS, *arguments]
        env = environ | ({"JAVA_HOME": java_home} if java_home else {}) | more
        return subprocess.run(
            command,
            env=env,
            cwd=tmp_path / "cwd",
            capture_output=True,
            text=True,
            timeout=4 * SECONDS if "report" in arguments else SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def places(tmp_path: Path, fruit_folder: Path) -> list[str]:
    """Give the options of a run that would read and write in the temporary folder only."""
    folders = {"input_dir": fruit_folder, "output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    settings = [f"--set={key}={folder}" for key, folder in folders.items()]
    return ["--target", "local", "--set=weights=random", *settings]


def check_refusal(done: subprocess.CompletedProcess[str], *, code: int, message: str) -> None:
    assert message in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    # A run says at once what it does.
    assert all(line.endswith("first checks") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: fruits"),
        (["bake"], "No such command 'bake'"),
        (["run"], "Missing argument 'MODE'"),
        (["run", "MINY"], "unknown mode 'MINY'; allowed: APPLES, FULL, MINI, "),
        (["run", "MINI", "--target", "moon"], "'moon' is not one of 'sample', 'local', 'emr'"),
        (["run", "MINI", "--set", "max_images"], "allowed: KEY=VALUE"),
        (["run", "MINI", "--set", "max_imgs=5"], "--set: max_imgs = 5: unknown; allowed: mode, classes, max_images"),
        (["run", "MINI", "--set", "pca_components=0"], "pca_components = 0: allowed: an integer >= 1"),
        (["run", "MINI", "--set", "classes=[", "--set", "seed=1"], "not valid YAML"),
        (["run", "MINI", "--set", "seed=2020-13-45"], "seed=2020-13-45"),
        (["fetch", "MINI", "--set", "max_imgs=5"], "max_imgs = 5: unknown"),
    ],
)
def test_wrong_usage_exits_2(fruits: Fruits, arguments: list[str], message: str) -> None:
    check_refusal(fruits(*arguments), code=2, message=message)


def test_several_mistakes_come_in_one_error(fruits: Fruits) -> None:
    done = fruits("run", "MINI", "--set", "max_imgs=5", "--set", "seed=x", "--set", "mode=FULL")
    check_refusal(done, code=2, message="max_imgs = 5: unknown")
    assert "seed = 'x'" in done.stderr
    assert "mode = 'FULL': must equal the file's name, MINI" in done.stderr


@pytest.mark.parametrize(
    ("setting", "message", "code"),
    [
        ("input_dir=/nowhere", "no folder /nowhere/Training", 2),
        ('classes=["Kiwy"]', "'Kiwy' matches none of the 3 class folders", 2),
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


def test_broken_java_home_is_named_with_the_ways_out(fruits: Fruits, places: list[str], tmp_path: Path) -> None:
    done = fruits("run", "MINI", *places, java_home="/no/java")
    check_refusal(done, code=1, message="JAVA_HOME=/no/java holds no bin/java that runs; Spark needs Java 8, 11, 17")
    assert "unset it" in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_of_another_run_are_not_overwritten(fruits: Fruits, places: list[str], tmp_path: Path) -> None:
    table = tmp_path / "out/MINI/table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("precious")
    for more in ([], ["--replace"]):
        check_refusal(fruits("run", "MINI", *places, *more), code=2, message="'table.csv'. Move them elsewhere")
    assert table.read_text() == "precious"


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


def test_fetch_does_not_bring_real_images_into_the_sample_by_default(fruits: Fruits) -> None:
    assert "default: local" in fruits("fetch", "--help").stdout


def test_fetch_from_a_missing_archive_is_refused(fruits: Fruits, tmp_path: Path) -> None:
    done = fruits("fetch", "MINI", "--zip", "none.zip", "--set", f"input_dir={tmp_path}/in")
    check_refusal(done, code=2, message="none.zip")


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "<&- >&- 2>&-", "| head -c1 >/dev/null"])
@pytest.mark.parametrize("command", ["--help", "pack"])
def test_nothing_that_is_printed_fails_a_command(
    fruit_folder: Path, tmp_path: Path, command: str, redirect: str
) -> None:
    environ = {"PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    packed = tmp_path / "gepackt_\u00e9"
    words = [command, str(fruit_folder), str(packed)][: 1 if command == "--help" else 3]
    shell = ["bash", "-o", "pipefail", "-c", f'"$0" "$@" {redirect}', FRUITS, *words]
    done = subprocess.run(shell, env=os.environ | environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert packed.exists() == (command == "pack")


def test_help_does_not_depend_on_docstrings(fruits: Fruits) -> None:
    assert "Bundle the class folders" in fruits("pack", "--help", PYTHONOPTIMIZE="2").stdout


BROKEN = """
import sys
from fruits.notebook import WARNINGS
from fruits_cli import cli
def fail(*_, **__):
    raise {error}
cli.load_params = fail
sys.argv = ["fruits", "run", "MINI"]
cli.main()
"""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("KeyError('mode')", "fruits: unexpected KeyError: 'mode'. Trace: "),
        ("RecursionError('too deep\\nby far')", "fruits: unexpected RecursionError: too deep. Trace: "),
        ("MemoryError", "fruits: there is not enough memory"),
        ("OSError(5, 'Input/output error', '/mnt/x')", "fruits: /mnt/x: Input/output error; check the folders"),
        ("UnicodeEncodeError('ascii', '\\udcea', 0, 1, 'no')", "fruits: unexpected UnicodeEncodeError: 'ascii' codec"),
        ("KeyError('AKIAIOSFODNN7EXAMPLE')", "fruits: unexpected KeyError: '[redacted]'. Trace: "),
    ],
)
def test_whatever_is_raised_ends_in_a_sentence_and_a_trace_that_it_names(
    tmp_path: Path, error: str, sentence: str
) -> None:
    command = [sys.executable, "-c", BROKEN.format(error=error)]
    done = subprocess.run(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    (trace,) = tmp_path.glob("fruits-*.log")
    assert done.stderr.rstrip().endswith(f"Trace: {trace}")
    assert "in fail" in trace.read_text()
    assert "AKIA" not in trace.read_text()


def test_no_place_for_the_trace_costs_the_trace_alone() -> None:
    prelude = "import tempfile; tempfile.NamedTemporaryFile = open"
    command = [sys.executable, "-c", prelude + BROKEN.format(error="KeyError('mode')")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "fruits: unexpected KeyError: 'mode'.\n")


def test_version_and_help_exit_0(fruits: Fruits) -> None:
    assert __version__ in fruits("--version").stdout
    assert "MODE" in fruits("run", "-h").stdout


def test_what_the_system_refuses_is_a_sentence(fruits: Fruits, fruit_folder: Path) -> None:
    done = fruits("pack", str(fruit_folder), "/proc/fruits/new")
    check_refusal(done, code=1, message="/proc/fruits")
    assert done.stderr.count("\n") == 1


def test_pack_says_what_it_did_and_refuses_in_a_sentence(fruits: Fruits, fruit_folder: Path, tmp_path: Path) -> None:
    done = fruits("pack", str(fruit_folder), "packed")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("12 images packed into 1 shards, 0.0 MiB: ")
    assert [file.name for file in (tmp_path / "cwd/packed").iterdir()] == ["images-00000.parquet"]
    check_refusal(fruits("pack", "packed", "again"), code=2, message="is packed already")
    check_refusal(fruits("pack", str(fruit_folder), "s3://"), code=2, message="names no bucket")
    check_refusal(fruits("pack", "nowhere", "new"), code=2, message="holds nothing to pack")


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
            nbformat.writes(new_notebook(cells=[new_code_cell("1")])),
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
