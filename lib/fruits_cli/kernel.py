"""The kernel of `fruits run`: started without the user's configuration of Python, IPython, Jupyter and Matplotlib."""

import asyncio
import atexit
import logging
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from fruits.errors import FruitsError
from fruits.folders import find_home
from fruits.java import stop_jvm
from fruits.params import DRAFT_VARIABLE

LOG = "kernel.log"
# Jupyter waits a minute, which two cores that others load do not keep.
START_SECONDS = 180
# More than `extraction.STOP_SECONDS`.
IDLE_SECONDS = 30
_PLACES = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
_IGNORED = ("IPYTHON", "JUPYTER", "MPL", "MATPLOTLIBRC", "PYTHON")
# They say where code lies and what is written beside it: the command itself was started with them.
_KEPT = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"}
_START = "from fruits_cli.kernel import serve_notebook; serve_notebook()"
# What the first cells import, and takes longest: the command is still busy when the kernel imports it.
_IMPORTED = ("pandas", "matplotlib.pyplot", "pyspark.sql", "fruits.quality.evaluation")


class KernelError(FruitsError):
    """The kernel ended before the notebook did; its log may say why."""


class KernelStartError(KernelError):
    """The kernel gave no answer; no cell has run."""


def serve_notebook() -> None:
    """Be the kernel, in a process of its own that ends with the command that started it."""
    threading.Thread(target=_end_with, args=(int(os.environ["JPY_PARENT_PID"]),), daemon=True).start()
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import launch_new_instance
    from IPython.core import application

    class NotebookKernel(IPythonKernel):
        def do_shutdown(self, restart: bool) -> dict[str, Any]:
            stop_jvm()  # else Jupyter ends it, and may look only a second later whether it has ended
            return cast("dict[str, Any]", super().do_shutdown(restart))  # type: ignore[no-untyped-call]

    for name in _IMPORTED:
        with suppress(Exception):  # raised again by the notebook
            import_module(name)
    # No setting keeps IPython from /etc/ipython and <environment>/etc/ipython.
    application.ENV_CONFIG_DIRS.clear()
    application.SYSTEM_CONFIG_DIRS.clear()
    launch_new_instance(kernel_class=NotebookKernel)


def _end_with(parent: int) -> None:
    """End this process, and so its Spark, as soon as its parent has ended.

    Jupyter does this only if process 1 becomes the new parent; in a container or a desktop session it may be another.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class Kernel:
    """A kernel that is this Python, in a folder of its own: its working directory, and its place for configuration.

    Nothing is looked for by name, so that no kernelspec of the user takes the place of this Python.

    Attributes
    ----------
    manager : KernelManager
        As papermill takes it by `km`.
    draft : Path
        Where `params.DRAFT_VARIABLE` tells the notebook to write its report; to be made as a link to the draft.
    log : Path
        What the kernel says outside the notebook.
    """

    def __init__(self, folder: Path) -> None:
        self.draft, self.log = folder / "draft", folder / LOG
        self._folder = folder
        self._ready = False
        self._ending: threading.Thread | None = None
        self.manager = self._make_manager()

    def _make_manager(self) -> KernelManager:
        connection = self._folder / "connection.json"
        manager = KernelManager(ip="127.0.0.1", connection_file=str(connection), kernel_name="python3")
        manager.client_class = "jupyter_client.asynchronous.AsyncKernelClient"
        manager._kernel_spec = KernelSpec(
            argv=[sys.executable, "-c", _START, "-f", "{connection_file}", "--HistoryManager.hist_file=:memory:"],
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}},
        )
        manager.log = logging.Logger("kernel")  # a trace on the terminal otherwise
        manager.log.addHandler(logging.NullHandler())
        return manager

    def start(self) -> None:
        """Start the process, which imports what notebooks need."""
        environment = make_environment(self._folder) | {DRAFT_VARIABLE: str(self.draft)}
        with self.log.open("ab") as stream:
            self.manager.start_kernel(cwd=str(self._folder), env=environment, stderr=stream)

    def wait_until_ready(self) -> None:
        """Wait until the kernel answers; one that does not is started a second time."""
        try:
            asyncio.run(self._wait(START_SECONDS))
        except Exception:  # no cell has run: once more is safe
            self.kill()
            self.manager = self._make_manager()
            try:
                self.start()
                asyncio.run(self._wait(START_SECONDS))
            except OSError:
                raise
            except Exception as error:
                said = f"the notebook's kernel did not start: {error}. Its last words: {read_last_words(self.log)}"
                raise KernelStartError(said) from error
        self._ready = True

    async def _wait(self, seconds: int) -> None:
        client: Any = self.manager.client()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        end = time.monotonic() + seconds
        try:
            client.kernel_info()
            while time.monotonic() < end:
                with suppress(queue.Empty):
                    await client.get_shell_msg(timeout=1)
                    return
                if not self.manager.is_alive():
                    raise RuntimeError("it has ended")
            raise RuntimeError(f"it gave no answer in {seconds} seconds")
        finally:
            client.stop_channels()

    def begin_to_end(self) -> None:
        """Let the kernel end, after its last cell, while this process goes on."""
        self._ending = threading.Thread(target=self._end)
        self._ending.start()

    def _end(self) -> None:
        try:
            self.manager.shutdown_kernel()
        finally:
            ensure_event_loop().close()  # that of this thread; Jupyter leaves it open

    def close(self) -> None:
        """Wait until the kernel has ended; one that has not executed anything is killed."""
        try:
            if self._ending:
                self._ending.join()
            elif self._ready:
                with suppress(RuntimeError):  # it has died, or takes too long
                    # A cell that is interrupted stores what it has computed: a kernel that shuts down ends the JVM.
                    self.manager.interrupt_kernel()
                    asyncio.run(self._wait(IDLE_SECONDS))
                self.manager.shutdown_kernel()
        finally:
            self.kill()

    def kill(self) -> None:
        """End the kernel and its children at once."""
        if self.manager.has_kernel:
            provisioner: Any = self.manager.provisioner
            with suppress(ProcessLookupError):
                os.killpg(provisioner.pgid, signal.SIGKILL)
        if not (self._ending and self._ending.is_alive()):  # the manager can only be told once
            self.manager.shutdown_kernel(now=True)


@contextmanager
def private_kernel() -> Iterator[Kernel]:
    """Start a kernel that lasts as long as the block, or as long as it lets it."""
    replace_home()
    with tempfile.TemporaryDirectory(prefix="fruits-kernel-", ignore_cleanup_errors=True) as folder:
        kernel = Kernel(Path(folder))
        try:
            with suppress(Exception):  # tried again by `wait_until_ready`
                kernel.start()
            yield kernel
        finally:
            kernel.close()


def make_environment(folder: Path) -> dict[str, str]:
    """Return this process's environment without what configures Python's tools; they are sent to a folder instead."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_IGNORED)}
    return {
        **kept,
        **{place: str(folder / place.lower()) for place in _PLACES},
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # A module in the working directory never stands for one of Python's, here and in Spark's workers.
        "PYTHONSAFEPATH": "1",
    }


def replace_home() -> None:
    """Give Jupyter and Matplotlib a temporary folder until this process ends, if the user has no home folder."""
    if find_home() is None:
        folder = Path(tempfile.mkdtemp(prefix="fruits-home-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ |= {place: str(folder / place.lower()) for place in _PLACES}


def read_last_words(log: Path) -> str:
    """Return the last line of a log, `none` if there is none."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "none")
