"""What Spark, the JVM or the disk died of, in one sentence instead of hundreds of lines."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fruits.errors import FruitsError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_KEPT = "Features that are stored are kept; run again to go on."
_DIED = re.compile(r"Python worker exited unexpectedly|Python worker failed to connect back|ExecutorLostFailure")
# What a terminal takes for colours.
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_JAVA = ("java.", "org.", "py4j.", "scala.", "io.")


@contextmanager
def explain_failures(doing: str) -> Iterator[None]:
    """Turn what Spark and the system raise in the block into a sentence.

    Parameters
    ----------
    doing
        What is being done: the beginning of the sentence, such as "the extraction".

    Raises
    ------
    FruitsError
        "<doing> failed: ...", with what to do.
    """
    from py4j.protocol import Py4JError, Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        raise FruitsError(f"{doing} failed: {find_cause(str(error))}") from error
    except (Py4JError, ConnectionError) as error:
        raise FruitsError(
            f"{doing} failed: Spark's Java process is gone (killed, or out of memory? raise driver_memory). {_KEPT}"
        ) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise FruitsError(f"{doing} failed: {describe_os_error(error)}") from error


def describe_os_error(error: OSError) -> str:
    """Say in a sentence what the system refused, and what to do."""
    if error.errno in _FULL:
        return _full(error.filename)
    what = f"{error.filename}: " if error.filename else ""
    return f"{what}{error.strerror or error}; check the folders that were named (input_dir, output_dir, report_dir)."


def describe_surprise(error: Exception) -> str:
    """Say in a sentence what nobody has foreseen."""
    if isinstance(error, OSError) and error.strerror:
        return describe_os_error(error)
    if isinstance(error, MemoryError):
        return f"{_describe('MemoryError', str(error))}."
    return f"unexpected {_describe(type(error).__name__, str(error))}."


def describe_cell_error(name: str, text: str) -> str:
    """Say in a sentence what a cell raised: the name of the error and its text; our own errors are sentences already.

    Parameters
    ----------
    name, text
        The class of the error and what it says, which may be Java's stack trace.
    """
    text = _COLOURS.sub("", text).strip()
    return text if name in {"FruitsError", "UsageError"} else _describe(name, text)


def _describe(name: str, text: str) -> str:
    if name == "MemoryError":
        return f"there is not enough memory ({text or 'ulimit -v?'}): allow more, or lower batch_size"
    cause = " ".join(find_cause(text).split()) if text else ""
    return f"{name}: {cause}".rstrip(": .") if not cause.startswith(f"{name}: ") else cause


def find_cause(said: str) -> str:
    """Return the line that says why, out of all that Spark said."""
    if any(os.strerror(number) in said for number in _FULL):
        return _full(None)
    if _DIED.search(said):
        return (
            "its worker process died again and again (killed by the system for want of memory? lower batch_size or "
            f"the cores of spark_master). {_KEPT}"
        )
    # An error without a text of its own has it on the next line that says anything.
    named = re.findall(r"^[\s:]*((?:\w+\.)*\w*(?:Error|Exception):(?: .*|\s*\n.*\S.*))", said, re.MULTILINE)
    named = [" ".join(line.split()) for line in named]
    cause = next((line for line in reversed(named) if not line.startswith(_JAVA)), None)
    # What we raise on a worker is a sentence already.
    own = re.sub(r"^fruits\.\S*Error: ", "", cause or "")
    return own or next(reversed(named), "") or next(iter(said.splitlines()), "no reason was given")


def _full(file: str | None) -> str:
    where = f" that holds {file}" if file else ""
    return f"the disk{where} is full: make room, or name another folder (TMPDIR: for temporary files). {_KEPT}"
