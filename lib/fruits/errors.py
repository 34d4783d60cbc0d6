"""The errors of this project, and exceptions of Spark, Java and the system translated into one sentence."""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_RESUME = "Stored features are kept: run again to continue."
# The socket is that of the worker: it is reset if the worker dies before it has read all that was sent.
_WORKER_DIED = re.compile(
    r"Python worker (exited unexpectedly|failed to connect back)|ExecutorLostFailure"
    r"|java\.net\.SocketException: Connection reset(?=(\s+at \S.*)*\s+at org\.apache\.spark\..*python)"
)
# Escape sequences (titles and the like, then colours and moves, then short ones), and control characters but \t and \n.
_CONTROLS = re.compile(
    r"\x1b[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_JAVA_PACKAGES = ("java.", "org.", "py4j.", "scala.", "io.")


class FruitsError(Exception):
    """The run cannot continue: what was found, and what cures it. The command exits with `exit_code`."""

    exit_code = 1

    def __init__(self, found: str, *, cure: str = "") -> None:
        super().__init__(f"{found}; {cure}." if cure else found)
        self.found, self.cure = found, cure


class UsageError(FruitsError):
    """The request is wrong: a parameter, a path or a name."""

    exit_code = 2


def quote_first(names: Sequence[str]) -> str:
    """Return the first five names in quotes, and `...` if there are more."""
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def strip_controls(text: str) -> str:
    """Remove what changes a terminal from text that another machine has written."""
    return _CONTROLS.sub("", text)


@contextmanager
def explain_failures(doing: str) -> Iterator[None]:
    """Translate exceptions of Spark and the system in the block into a FruitsError: "<doing> failed: <cause>"."""
    from py4j.protocol import Py4JError, Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        raise FruitsError(f"{doing} failed: {find_cause(str(error))}") from error
    except (Py4JError, ConnectionError) as error:
        raise FruitsError(
            f"{doing} failed: Spark's Java process is gone (killed, or out of memory? Raise driver_memory). {_RESUME}"
        ) from error
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise FruitsError(f"{doing} failed: {_describe_full_disk(error.filename)}") from error


def describe_exception(error: Exception) -> str:
    """Describe an exception that no code expects, in one sentence."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return _describe_full_disk(error.filename)
    if isinstance(error, OSError) and error.filename:
        hint = "check the folders that were named (input_dir, output_dir, report_dir)"
        return f"{error.filename}: {error.strerror or error}; {hint}."
    if isinstance(error, MemoryError):
        return f"{_describe('MemoryError', str(error))}."
    hint = ""
    if isinstance(error, ImportError) and (path := os.environ.get("PYTHONPATH")):
        hint = f" PYTHONPATH={path} may hold packages of another Python: unset it."
    return f"unexpected {_describe(type(error).__name__, str(error))}.{hint}"


def describe_cell_error(name: str, text: str) -> str:
    """Describe the error of a notebook cell in one sentence, from its class name and its text (often a stack trace)."""
    text = strip_controls(text).strip()
    return text if name in {"FruitsError", "UsageError"} else _describe(name, text)


def _describe(name: str, text: str) -> str:
    if name == "MemoryError":
        return f"there is not enough memory ({text or 'ulimit -v?'}): allow more, or lower batch_size"
    cause = " ".join(find_cause(text).split()) if text else ""
    return f"{name}: {cause}".rstrip(": .") if not cause.startswith(f"{name}: ") else cause


def find_cause(text: str) -> str:
    """Return the line of a long message of Spark that gives the reason."""
    if any(os.strerror(number) in text for number in _DISK_FULL):
        return _describe_full_disk(None)
    if _WORKER_DIED.search(text):
        return (
            "its worker process ended unexpectedly several times (killed because memory ran out? Lower batch_size or "
            f"the number of cores in spark_master). {_RESUME}"
        )
    # Some exceptions have their text on the line after their name.
    named = re.findall(r"^[\s:]*((?:\w+\.)*\w*(?:Error|Exception):(?: .*|\s*\n.*\S.*))", text, re.MULTILINE)
    named = [" ".join(line.split()) for line in named]
    cause = next((line for line in reversed(named) if not line.startswith(_JAVA_PACKAGES)), None)
    # A FruitsError from a worker needs no class name.
    own = re.sub(r"^fruits\.\S*Error: ", "", cause or "")
    return own or next(reversed(named), "") or next(iter(text.splitlines()), "no reason was given")


def _describe_full_disk(file: str | None) -> str:
    where = f" that holds {file}" if file else ""
    return f"the disk{where} is full: free some space, or name another folder (TMPDIR: temporary files). {_RESUME}"
