"""The kernel of a run: whose settings it takes, and what is said when it does not start."""

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from fruits.errors import FruitsError
from fruits.notebook import POINTS
from fruits.params import DRAFT_VARIABLE, RunParams, load_params, repository
from fruits_cli import execution, kernel, run


def ask(private: kernel.Kernel, code: str) -> str:
    """Execute code in a kernel, and return what it prints."""
    said = []

    async def execute() -> None:
        client: Any = private.manager.client()
        client.start_channels()
        try:
            await client.execute_interactive(code, output_hook=lambda message: said.append(message["content"]))
        finally:
            client.stop_channels()

    asyncio.run(asyncio.wait_for(execute(), timeout=60))
    return "".join(content.get("text", "") for content in said)


def test_the_users_settings_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_PATH", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "the user's")
    for name in ("PYTHONPATH", "JAVA_HOME", "TMPDIR", "AWS_PROFILE", "https_proxy", "KERAS_HOME"):
        monkeypatch.setenv(name, "kept")

    environ = kernel.make_environment(tmp_path)

    assert "the user's" not in environ.values()
    assert sum(value == "kept" for value in environ.values()) == 6
    assert environ["MPLBACKEND"] == "module://matplotlib_inline.backend_inline"
    assert environ["IPYTHONDIR"].startswith(str(tmp_path))


def test_a_kernel_works_in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is looked for in Jupyter's folders, and no module beside the notebook is taken."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "/dev/null/runtime")
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER", "nobody")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    spec = tmp_path / "kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["false"], "display_name": "x", "language": "R"}')

    with kernel.private_kernel() as private:
        private.wait_until_ready()
        told = f"import os, sys; print(os.getcwd(), sys.path, os.environ[{DRAFT_VARIABLE!r}], sep='|')"
        folder, path, draft = ask(private, told).strip().split("|")
        assert draft == str(private.draft)

    assert "fruits-kernel-" in folder
    assert not Path(folder).exists()
    assert "''" not in path
    assert folder not in path


def test_a_kernel_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(kernel, "START_SECONDS", 1)

    with kernel.private_kernel() as private, pytest.raises(kernel.KernelStartError, match="no answer in 1 seconds"):
        private.wait_until_ready()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FruitsError("refused")])
def test_a_kernel_that_is_not_needed_is_ended_at_once(error: BaseException) -> None:
    """A run is refused, or interrupted, while its kernel still imports what it would need."""
    processes: list[Any] = []

    def refuse() -> None:
        with kernel.private_kernel() as private:
            provisioner: Any = private.manager.provisioner
            processes.append(provisioner.process)
            raise error

    began = time.monotonic()
    with pytest.raises(type(error)):
        refuse()
    assert processes[0].returncode == -9
    assert time.monotonic() - began < 10


@pytest.fixture
def adopt() -> Iterator[None]:
    """Become the parent of orphans, as a container's or a desktop session's first process does."""
    libc, child_subreaper = ctypes.CDLL(None), 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
    libc.prctl(child_subreaper, 1, 0, 0, 0)
    yield
    libc.prctl(child_subreaper, 0, 0, 0, 0)


@pytest.mark.usefixtures("adopt")
def test_a_kernel_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = (
        "import os, time; from pathlib import Path; from fruits_cli import kernel\n"
        "with kernel.private_kernel() as private:\n"
        "    private.wait_until_ready()\n"
        f"    Path({str(ready)!r}).write_text(str(private.manager.provisioner.pid))\n"
        "    os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert killed.returncode == -9

    end = time.monotonic() + 10
    while not (ended := os.waitpid(int(ready.read_text()), os.WNOHANG))[0]:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert os.waitstatus_to_exitcode(ended[1]) == 1


def test_a_kernel_is_killed_if_nobody_waits_for_its_end() -> None:
    """A second Ctrl-C, while the report of an interrupted run waits for the kernel."""
    with kernel.private_kernel() as private:
        private.wait_until_ready()
        provisioner: Any = private.manager.provisioner
        process = provisioner.process
        ask(private, "import subprocess; subprocess.Popen(['sh', '-c', 'trap \"\" TERM; exec sleep 60'])")
        private.begin_to_end()
        private.kill()
        assert process.wait(timeout=10) == -9


@pytest.fixture
def run_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[str, str]]:
    """Run the pipeline without its checks; a last good report is there."""
    params = load_params("MINI", "sample", {"report_dir": str(tmp_path)})
    monkeypatch.setattr(run, "check_run", lambda params, **_: [])
    monkeypatch.setattr(run, "_convert_weights", print)
    params.report_folder.mkdir(parents=True)
    (params.report_folder / "run.html").write_text("good")

    def run_report() -> tuple[str, str]:
        with pytest.raises(FruitsError) as failure, kernel.private_kernel() as private:
            run.run_pipeline(params, kernel=private, say=print)
        assert (params.report_folder / "run.html").read_text() == "good"
        log = params.report_folder / kernel.LOG
        assert f"Trace: {log}" in str(failure.value)
        return str(failure.value), log.read_text()

    return run_report


def test_a_start_that_fails_is_tried_twice_and_its_trace_is_kept(
    run_report: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_START", "raise ImportError('zmq is broken')")

    said, log = run_report()

    assert "the notebook's kernel did not start" in said
    assert "Its last words: ImportError: zmq is broken" in said
    assert "ImportError: zmq is broken" in said
    assert log.count("\nImportError: zmq is broken") == 2
    assert "KernelStartError" in log


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("zmq\nlines"), "unexpected RuntimeError: zmq.\n"),
        (ImportError("no zmq"), "unexpected ImportError: no zmq.\n"),
        (OSError(98, "Address already in use"), "unexpected OSError: [Errno 98] Address already in use.\n"),
        (ValueError(), "unexpected ValueError.\n"),
        (PermissionError(13, "Permission denied", "/x.ipynb"), "/x.ipynb: Permission denied; check the folders"),
    ],
)
def test_whatever_jupyter_raises_is_a_sentence(
    run_report: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("papermill.execute_notebook", fail)

    said, log = run_report()

    assert said.startswith(sentence)
    assert "Traceback" in log


def test_the_weights_are_converted_as_the_notebook_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(run, "load_model", lambda *names, **settings: made.append((names, settings)))
    params = load_params("MINI", "sample", {"output_dir": str(tmp_path)})

    run._convert_weights(params)

    expected = {**params.model_settings, "folder": tmp_path / "models", "base": repository()}
    assert made == [(("random",), expected)]


def test_the_cell_of_the_model_waits_for_its_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, cells = [], nbformat.read(repository() / "notebooks/pipeline.ipynb", as_version=4).cells

    def convert(params: RunParams) -> None:
        time.sleep(0.5)
        events.append("converted")

    def execute(*_: object, before_cell: Callable[[str], None], **__: object) -> None:
        for cell in cells:
            before_cell(cell.source)
            events.append(cell.id)
        raise FruitsError("enough")

    monkeypatch.setattr(run, "check_run", lambda *_, **__: [])
    monkeypatch.setattr(run, "_convert_weights", convert)
    monkeypatch.setattr(run, "execute_notebook", execute)
    params = load_params("MINI", "sample", {"report_dir": str(tmp_path)})
    with pytest.raises(FruitsError, match="enough"), kernel.private_kernel() as private:
        run.run_pipeline(params, kernel=private, say=print)

    place = events.index("converted")
    assert "load_model(" in next(cell.source for cell in cells if cell.id == events[place + 1])
    assert place > events.index("cell-08")  # Spark has started


def make_drawing(tmp_path: Path, *tags: str, **data: str) -> Path:
    """Make an executed notebook with a cell that draws, and one that does not."""
    output = new_output("display_data", data={name.replace("_", "/", 1): value for name, value in data.items()})
    cells = [
        new_code_cell("plots.plot_scores(matrix)", execution_count=7, outputs=[output], metadata={"tags": tags}),
        new_code_cell("plots.explain_undrawn(names)", execution_count=8),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "run.ipynb")
    return tmp_path / "run.ipynb"


def test_a_figure_that_is_missing_is_refused(tmp_path: Path) -> None:
    execution.check_figures(make_drawing(tmp_path, image_png="x"))
    with pytest.raises(FruitsError, match="the figures of cells 7 are missing, so no report was made"):
        execution.check_figures(make_drawing(tmp_path, text_plain="<Figure size 640x480>", application_pdf="x"))


def test_a_cell_may_draw_nothing_if_it_says_so(tmp_path: Path) -> None:
    execution.check_figures(make_drawing(tmp_path, execution.OPTIONAL, text_plain="nothing"))


def test_the_points_become_the_atlas_and_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(points: pd.DataFrame, page: Path, *, title: str, read_image: Callable[[str], Image.Image]) -> None:
        page.write_text(f"{title}: {points['path'].tolist()} {read_image('x.png').size}")

    monkeypatch.setattr("fruits_cli.atlas.write_atlas", write)
    images, draft = tmp_path / "images", tmp_path / "draft"
    images.mkdir()
    draft.mkdir()
    Image.new("RGB", (50, 50)).save(images / "x.png")
    params = load_params("MINI", "local", {"input_dir": str(images)})
    assert run._draw_atlas(draft, params=params, title="A") == {}
    assert not list(draft.iterdir())
    pd.DataFrame({"path": ["x.png"]}).to_parquet(draft / POINTS)
    assert [*run._draw_atlas(draft, params=params, title="A")] == ["atlas.html"]
    assert [(file.name, file.read_text()) for file in draft.iterdir()] == [("atlas.html", "A: ['x.png'] (32, 32)")]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": [1]}', "\xff"])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.ipynb").write_text(content, encoding="latin-1")

    with pytest.raises(FruitsError, match=r"x\.ipynb: not a notebook"):
        execution.check_notebook(tmp_path / "x.ipynb", names=())


# The child stands for the JVM, which hears no Ctrl-C and which the batches under way need.
CELL = """
import subprocess, time
from pathlib import Path
from typing import Any
child = subprocess.Popen(["sh", "-c", "trap '' INT; exec sleep 60"])
Path({began!r}).touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(3)
    Path({kept!r}).write_text(str(child.poll()))
    raise
"""


def test_a_cell_that_is_interrupted_ends_before_the_kernels_children_do(tmp_path: Path) -> None:
    began, kept = tmp_path / "began", tmp_path / "kept"

    with kernel.private_kernel() as private:
        private.wait_until_ready()
        client = private.manager.client()
        client.start_channels()
        client.execute(CELL.format(began=str(began), kept=str(kept)))
        while not began.exists():
            time.sleep(0.05)
        client.stop_channels()
    assert not private.manager.is_alive()
    assert kept.read_text() == "None", "the child was ended before the cell"
