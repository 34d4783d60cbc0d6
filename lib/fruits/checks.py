"""What is looked at before work begins: in order, doubtful or missing, and what cures it. A look ends in any case."""

import queue
import threading
from collections.abc import Callable
from typing import Literal, NamedTuple

from fruits.errors import FruitsError, describe_exception

SECONDS = 20.0  # for each look
REBUILD = "rm -f .venv/.ready && make env"
_MARKS = {"ok": "[x]", "warning": "[?]", "missing": "[ ]"}


class Check(NamedTuple):
    """Something that work needs, what was found of it, and what to do if that is not in order."""

    name: str
    status: Literal["ok", "warning", "missing"]
    found: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f"  ->  {self.cure}" if self.cure and self.status != "ok" else ""
        return f"{_MARKS[self.status]} {self.name}{f': {self.found}' if self.found else ''}{cure}"


Look = Callable[[], str | Check]  # returns what was found; a Check, if that is doubtful


def take_look(name: str, look: Look, *, seconds: float = SECONDS) -> Check:
    """Return what a look finds; an exception and a missing answer are findings, too."""
    answers: queue.SimpleQueue[Check] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_judge(name, look)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return Check(name, "missing", f"no answer in {seconds:g} s", "look for a disk or a network that hangs")


def _judge(name: str, look: Look) -> Check:
    try:
        found = look()
        return found._replace(name=name) if isinstance(found, Check) else Check(name, "ok", found)
    except FruitsError as error:
        return Check(name, "missing", " ".join(error.found.split()).rstrip("."), error.cure)
    except ImportError as error:
        return Check(name, "missing", " ".join(f"{type(error).__name__}: {error}".split()), REBUILD)
    except Exception as error:
        return Check(name, "missing", describe_exception(error))
