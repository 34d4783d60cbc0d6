"""The Python workers of a Spark session that somebody else has configured: their Python, and this package on them."""

import atexit
import functools
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

_PACKAGE = Path(__file__).parent
_CACHES = {"__pycache__", ".ipynb_checkpoints"}
# Applications whose workers have the package.
_prepared: set[str] = set()


def trust_workers(context: "SparkContext") -> None:
    """Note that the workers of a session have the package: it is installed there, or came with --py-files or Livy.

    Queries and other jobs get the same workers, which are started by the Python that the session names for executors,
    if it does; Livy gives them the driver's path.
    """
    if python := context.getConf().get("spark.executorEnv.PYSPARK_PYTHON"):
        context.pythonExec = python
    # SQL starts its workers with this variable. Without it jobs of RDDs would start others beside them.
    context.environment["SPARK_SIMPLIFIED_TRACEBACK"] = "1"
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
    context.addPyFile(str(_make_archive()))
    _prepared.add(context.applicationId)


def zip_code(archive: Path, root: Path, *folders: str, more: dict[str, Path] | None = None) -> Path:
    """Zip what folders below a root hold, but caches, and other files by name; the same files make the same bytes."""
    found = (file for folder in folders for file in (root / folder).rglob("*") if file.is_file())
    files = {file.relative_to(root).as_posix(): file for file in found if not _CACHES & {*file.parts}} | (more or {})
    with zipfile.ZipFile(archive, "w") as content:
        for name in sorted(files):
            content.writestr(zipfile.ZipInfo(name), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return archive


@functools.cache
def _make_archive() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fruits-"))
    # Kept as long as this process: executors that start later fetch the archive from it.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # emr/step.sh sends one of the name fruits.zip.
    return zip_code(folder / "fruits-library.zip", _PACKAGE.parent, _PACKAGE.name)
