"""The Python workers of a Spark session that somebody else has configured: their Python, and this package on them."""

import functools
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

_PACKAGE = Path(__file__).parent
# Applications whose workers have the package.
_prepared: set[str] = set()


def trust_workers(context: "SparkContext") -> None:
    """Note that the workers of a session have the package: it is installed there, or came with --py-files or Livy."""
    _prepared.add(context.applicationId)


def prepare_workers(context: "SparkContext") -> None:
    """Send this package to the workers of a session, once, so that they need not have it installed.

    Workers on this machine run this very Python unless `PYSPARK_PYTHON` names another: Spark's default is whatever
    `python3` the PATH finds. A package that was itself sent as a zip is on the workers already.
    """
    if context.applicationId in _prepared or not _PACKAGE.is_dir():
        return
    if str(context.master).startswith("local") and "PYSPARK_PYTHON" not in os.environ:
        context.pythonExec = sys.executable
    context.addPyFile(str(Path(_folder().name) / _make_archive()))
    _prepared.add(context.applicationId)


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    # Kept as long as this process: executors that start later fetch the archive from it.
    return tempfile.TemporaryDirectory(prefix="fruits-", ignore_cleanup_errors=True)


@functools.cache
def _make_archive() -> str:
    name = "fruits-library.zip"  # emr/step.sh sends one of the name fruits.zip
    with zipfile.ZipFile(Path(_folder().name) / name, "w") as archive:
        for file in sorted(_PACKAGE.rglob("*.py")):
            archive.write(file, file.relative_to(_PACKAGE.parent).as_posix())
    return name
