"""The kernel of `fruits run`: started without the user's configuration of Python, IPython, Jupyter and Matplotlib."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from fruits.errors import FruitsError
from fruits.folders import find_home

LOG = "kernel.log"
# Jupyter waits a minute, which two cores that others load do not keep.
START_SECONDS = 180
# More than `extraction.STOP_SECONDS`.
IDLE_SECONDS = 30
_PLACES = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
_IGNORED = ("IPYTHON", "JUPYTER", "MPL", "MATPLOTLIBRC", "PYTHON")
# They say where code lies and what is written beside it: the command itself was started with them.
_KEPT = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"}
# No setting keeps IPython from /etc/ipython and <environment>/etc/ipython.
_START = (
    "import runpy; from IPython.core import application; "
    "application.ENV_CONFIG_DIRS.clear(); application.SYSTEM_CONFIG_DIRS.clear(); "
    "runpy.run_module('ipykernel_launcher', run_name='__main__')"
)


class KernelError(FruitsError):
    """The kernel ended before the notebook did; its log may say why."""


class KernelStartError(KernelError):
    """The kernel gave no answer; no cell has run."""


class _PrivateKernelManager(AsyncKernelManager):
    """A manager whose kernel is this Python, in a folder of its own."""

    folder: Path
    words: Path
    made: list[AsyncKernelManager]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, ip="127.0.0.1", connection_file=str(self.folder / "connection.json"))
        self._kernel_spec = KernelSpec(
            argv=[sys.executable, "-c", _START, "-f", "{connection_file}"],
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}},
        )
        self.log = logging.Logger("kernel")  # a trace on the terminal otherwise
        self.log.addHandler(logging.NullHandler())
        self.made.append(self)

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        try:
            with self.words.open("ab") as stream:
                place = {"cwd": str(self.folder), "env": make_environment(self.folder)}
                await super().start_kernel(**options | place, stderr=stream)
            await _wait_for(self, START_SECONDS)
        except Exception as error:
            with suppress(Exception):
                await self.shutdown_kernel(now=True)
            if isinstance(error, OSError):
                raise
            said = f"the notebook's kernel did not start: {error}. Its last words: {read_last_words(self.words)}"
            raise KernelStartError(said) from error

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        # A cell that is interrupted stores what it has computed: a kernel that is told to shut down ends the JVM.
        if not now and await self.is_alive():
            await self.interrupt_kernel()
            with suppress(RuntimeError):  # it has died, or has taken too long
                await _wait_for(self, IDLE_SECONDS)
        await super().shutdown_kernel(now=now, restart=restart)


@contextmanager
def private_kernels(log: Path) -> Iterator[type[AsyncKernelManager]]:
    """Give a manager of kernels that have a folder of their own, and write what they say outside the notebook to a log.

    The folder is their working directory and their place for configuration and connection; it lasts as long as the
    block. Nothing is looked for by name, so that no kernelspec of the user takes the place of this Python.
    """
    made: list[AsyncKernelManager] = []
    with tempfile.TemporaryDirectory(prefix="fruits-kernel-", ignore_cleanup_errors=True) as folder:
        try:
            yield type("Manager", (_PrivateKernelManager,), {"folder": Path(folder), "words": log, "made": made})
        finally:
            # Nobody else ends a kernel that is interrupted while it starts.
            for manager in made:
                if process := getattr(manager.provisioner, "process", None):
                    process.kill()


async def _wait_for(manager: AsyncKernelManager, seconds: int) -> None:
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=seconds)
    finally:
        client.stop_channels()


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
