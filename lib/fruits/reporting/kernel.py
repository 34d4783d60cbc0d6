"""A kernel whose own complaints do not run across the terminal."""

from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

LOG = "kernel.log"


def manage_kernel(log: Path) -> type[AsyncKernelManager]:
    """Return a manager of kernels that write into a file what they say outside the notebook."""

    class LoggedKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            with log.open("ab") as stream:
                await super().start_kernel(**options, stderr=stream)

    return LoggedKernelManager


def read_last_words(log: Path) -> str:
    """Return the last line of a log, if there is any."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
