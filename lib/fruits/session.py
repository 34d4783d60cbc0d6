"""The SparkSession of a target; every Spark setting of the project, each with its reason."""

import atexit
import os
import re
import shlex
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fruits.errors import FruitsError
from fruits.java import find_java_home, find_network_options
from fruits.jvm import describe_failed_start, find_pyspark, hide_foreign, make_log, start_jvm
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

_PRIVATE_SETTINGS = {
    # A laptop that changes networks must not lose its own driver.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # Any free port: those from 4040 on may be taken. No page of another site shall be able to stop a job.
    "spark.ui.port": "0",
    "spark.ui.killEnabled": "false",
}

_OWN_SETTINGS = {
    "spark.ui.showConsoleProgress": "false",
    # Running counts reach the progress bar with the heartbeat; the default is 10 s.
    "spark.executor.heartbeatInterval": "1s",
}

# The heavy work is done by Python workers on the same cores: the second compiler and the parallel collector of the
# JVM would take a quarter of their time (9 of 17 CPU-seconds on 6,404 images were the compiler's).
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_PACKAGE = Path(__file__).parent


def open_session(*, master: str, driver_memory: str, name: str = "fruits") -> "SparkSession":
    """Start Spark, or take the session that is there.

    A Spark of this machine alone is private: what the user has set for other Sparks does not reach it.

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
        If no usable Java is there, or Spark does not start: in Java's own last words.
    """
    settings, environment = _QUERY_SETTINGS | {"spark.app.name": name}, {}
    log = None
    if master and not has_session():
        log = make_log()
        settings |= choose_settings(master) | connect_s3(find_s3_jars(), local=is_local(master))
        settings["spark.driver.memory"] = driver_memory
        settings["spark.driver.extraJavaOptions"] = choose_java_options(master, os.environ)
        environment = choose_environment(master, os.environ)
    try:
        session = _start(settings, environment, private=bool(log) and is_local(master), log=log)
    except Exception as error:
        said = describe_failed_start(error, log=log)
        raise FruitsError(f"Spark did not start with master {master!r}: {said}") from error
    if log:
        atexit.register(log.unlink, missing_ok=True)
    _complete_gateway(session)
    return session


def _start(settings: dict[str, str], environment: dict[str, str], *, private: bool, log: Path | None) -> "SparkSession":
    from pyspark.sql import SparkSession

    with hide_foreign() if private else nullcontext():
        os.environ |= environment
        if log:
            start_jvm(settings, log=log)
        return SparkSession.builder.config(map=dict(settings)).getOrCreate()


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
    return sys.executable if is_local(master) else environ.get("PYSPARK_PYTHON") or sys.executable


def choose_environment(master: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is set in the environment of a Spark that is started here."""
    chosen = {"PYSPARK_PYTHON": choose_python(master, environ), "PYSPARK_DRIVER_PYTHON": sys.executable}
    if home := find_java_home(environ):
        chosen["JAVA_HOME"] = str(home)
    if not is_local(master):
        return chosen
    chosen |= {
        "SPARK_HOME": str(find_pyspark()),
        # A folder of settings that holds those of the log alone.
        "SPARK_CONF_DIR": str(_PACKAGE),
        # What the web page binds to, and what spares Java to look for the name of this machine.
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
    }
    # Java and the workers must spell names as this process does: under LC_ALL=C Java would write `?` for each accent.
    return chosen | ({"LC_ALL": "C.UTF-8"} if sys.getfilesystemencoding() == "utf-8" else {})


def choose_settings(master: str) -> dict[str, str]:
    """Return the settings of a session that is started here; other machines could not reach a driver on loopback."""
    settings = _OWN_SETTINGS | {"spark.master": _allow_retries(master)}
    if not is_local(master):
        return settings
    # Ivy has nothing to fetch, but wants a folder, and looks in the user's home, which may not be there.
    folders = dict.fromkeys(("spark.local.dir", "spark.jars.ivy", "spark.hadoop.hadoop.tmp.dir"), tempfile.gettempdir())
    return settings | _PRIVATE_SETTINGS | folders


def choose_java_options(master: str, environ: Mapping[str, str]) -> str:
    """Return the options of the driver's JVM, as Spark takes them."""
    options = [*_JVM_OPTIONS, f"-Dlog4j2.configurationFile={(_PACKAGE / 'log4j2.properties').as_uri()}"]
    if is_local(master):
        temporary = tempfile.gettempdir()
        options += [f"-Djava.io.tmpdir={temporary}", f"-XX:ErrorFile={temporary}/fruits-hs_err_pid%p.log"]
        options += find_network_options(environ)
        if sys.getfilesystemencoding() == "utf-8":
            options += ["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]
    return shlex.join(options)


def is_local(master: str) -> bool:
    """Tell whether all of such a Spark is on this machine."""
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
