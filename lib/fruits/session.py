"""The SparkSession of a target; every Spark setting of the project, each with its reason."""

import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fruits.errors import FruitsError
from fruits.java import find_java_home
from fruits.params import find_repository

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_QUERY_SETTINGS = {
    # The same SQL on Spark 3.5 (off) and 4 (on): casts must not change meaning with the release.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    # Features and components are floats that look random: snappy or zstd cost time and save nothing.
    "spark.sql.parquet.compression.codec": "uncompressed",
    # Where a DataFrame of features goes to Python (`to_dataframe().toPandas()`, a PCA of other people's): a row of
    # 1280 floats is 5 KB, and 10,000 rows (the default) would be a batch of 50 MB.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2048",
    # Tables of images go to the JVM as Arrow batches, not row by row.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

_LOOPBACK_SETTINGS = {
    # A laptop that changes networks must not lose its own driver.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}

_OWN_SETTINGS = {
    "spark.ui.showConsoleProgress": "false",
    # Running counts reach the progress bar with the heartbeat; the default is 10 s.
    "spark.executor.heartbeatInterval": "1s",
}

# The heavy work is done by Python workers on the same cores: the second compiler and the parallel collector of the
# JVM would take a quarter of their time (9 of 17 CPU-seconds on 6,404 images were the compiler's).
_JVM_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def open_session(*, master: str, driver_memory: str, name: str = "fruits") -> "SparkSession":
    """Start Spark, or take the session that is there.

    Parameters
    ----------
    master
        A Spark master such as `local[*]` or `spark://host:7077`; empty takes the session (or the cluster settings)
        that is there.
    driver_memory
        Heap of the driver's JVM such as `4g`; it holds the workers' too under a local master.

    Raises
    ------
    FruitsError
        If no usable Java is there, or Spark does not start.
    """
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name).config(map=dict(_QUERY_SETTINGS))
    if master:
        if home := find_java_home():
            os.environ["JAVA_HOME"] = str(home)
        os.environ |= {"PYSPARK_PYTHON": choose_python(master, os.environ), "PYSPARK_DRIVER_PYTHON": sys.executable}
        log4j = (Path(__file__).parent / "log4j2.properties").as_uri()
        builder = builder.master(_allow_retries(master)).config(map=dict(choose_settings(master)))
        builder = builder.config(map=connect_s3(find_s3_jars(), local=_is_local(master)))
        builder = builder.config("spark.driver.memory", driver_memory)
        builder = builder.config("spark.driver.extraJavaOptions", f"{_JVM_OPTIONS} -Dlog4j2.configurationFile={log4j}")
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise FruitsError(f"Spark did not start with master {master!r}: {error}") from error
    _complete_gateway(session)
    return session


def _complete_gateway(session: "SparkSession") -> None:
    """Mend what another gateway than PySpark's own lacks, and reap the JVM of PySpark's own."""
    from py4j.java_gateway import java_import

    gateway = session.sparkContext._gateway
    # Livy's gateway finds something in Java under any name: only what it holds itself is the process of its JVM.
    if jvm := vars(gateway).get("proc"):
        # A notebook's kernel ends its children and waits for them: one that nobody reaps costs it 2 seconds.
        threading.Thread(target=jvm.wait, daemon=True).start()
        return
    # PySpark 3.5 imports these when it starts a JVM; Livy's shell connects to one, and 0.8 imports too
    # few (LIVY-863): createDataFrame of a pandas table fails with "'JavaPackage' object is not callable".
    for package in ("sql.api.python", "ml.python", "resource"):
        java_import(gateway.jvm, f"org.apache.spark.{package}.*")  # type: ignore[union-attr]


def has_session() -> bool:
    """Tell whether this process holds a running Spark already."""
    from pyspark import SparkContext

    return SparkContext._active_spark_context is not None


def choose_python(master: str, environ: Mapping[str, str]) -> str:
    """Return the interpreter of the workers; Spark's default is whatever `python3` the PATH finds.

    Here it is this very one. On other machines it may lie elsewhere, and need not hold TensorFlow: `PYSPARK_PYTHON`
    names it.
    """
    return sys.executable if _is_local(master) else environ.get("PYSPARK_PYTHON") or sys.executable


def choose_settings(master: str) -> dict[str, str]:
    """Return the settings of a session that is started here; other machines could not reach a driver on loopback."""
    return _OWN_SETTINGS | (_LOOPBACK_SETTINGS if _is_local(master) else {})


def _is_local(master: str) -> bool:
    return master.startswith("local")


def find_s3_jars() -> list[Path]:
    """Return what `make s3` has fetched for Spark outside EMR to read and write S3; nothing, if it has not."""
    return sorted((root / ".s3").glob("*.jar")) if (root := find_repository()) else []


def connect_s3(jars: list[Path], *, local: bool, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Let `s3:` mean S3A, as it means EMRFS on EMR: the same locations everywhere. Keys come from the AWS chain.

    Parameters
    ----------
    jars
        As `find_s3_jars` returns them; none connects nothing.
    local
        Whether all of Spark is one JVM: it reads the jars where they lie, where others are sent 270 MB.
    """
    if not jars:
        return {}
    settings = {
        "spark.driver.extraClassPath" if local else "spark.jars": (os.pathsep if local else ",").join(map(str, jars)),
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        # Retried with growing pauses, as EMRFS does: S3 answers 503 when asked too fast.
        "spark.hadoop.fs.s3a.attempts.maximum": "10",
        "spark.hadoop.fs.s3a.retry.limit": "7",
        "spark.hadoop.fs.s3a.connection.establish.timeout": "10000",
        "spark.hadoop.fs.s3a.connection.timeout": "60000",
    }
    if region := environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    if endpoint := environ.get("AWS_ENDPOINT_URL"):
        # Stores other than Amazon's have one address for all buckets.
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
    return settings


def _allow_retries(master: str) -> str:
    """Let a local task be tried as often as one on a cluster: else a worker that dies takes the run with it."""
    return re.sub(r"^local(?:\[([^],]+)\])?$", lambda match: f"local[{match[1] or 1},4]", master)


def describe_session(spark: "SparkSession") -> dict[str, str]:
    """Return what a reader wants to know of a session: versions, master, cores, memory."""
    context = spark.sparkContext
    return {
        "Spark": spark.version,
        "Java": context._jvm.System.getProperty("java.version"),  # type: ignore[union-attr]
        "Python": sys.version.split()[0],
        "master": str(context.master),
        "cores": str(context.defaultParallelism),
        "driver memory": str(context.getConf().get("spark.driver.memory", "1g")),
    }
