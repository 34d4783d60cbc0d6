"""The SparkSession: every Spark setting of the project with its reason, and descriptions of a session and a cluster."""

import atexit
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fruits import eventlog
from fruits.errors import FruitsError
from fruits.java import (
    choose_java_options,
    clean_environment,
    describe_failed_start,
    find_java_home,
    make_log,
    start_jvm,
)
from fruits.params import find_repository
from fruits.workers import trust_workers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
_QUERY_SETTINGS = {
    # The same SQL on Spark 3.5 (off) and 4 (on): casts must not change meaning with the release.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    # Features are floats that look random: snappy or zstd cost time and save nothing.
    "spark.sql.parquet.compression.codec": "uncompressed",
    # A row of features is 5 KB: the default batch of 10,000 rows would take 50 MB wherever features go to Python.
    _BATCH: "2048",
    # Tables of images go to the JVM as Arrow batches, not row by row.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
_LOCAL_SETTINGS = {
    # A laptop that changes networks must not lose its own driver.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # Any free port: those from 4040 on may be taken. Pages of other sites must not be able to stop a job.
    "spark.ui.port": "0",
    "spark.ui.killEnabled": "false",
    # The scores of more than a million images are above the default of 1 GB.
    "spark.driver.maxResultSize": "0",
    "spark.python.daemon.module": "fruits.worker_daemon",
    # What a worker says of a few images would wait for 64 KB of them, and the bar with it. Hadoop's buffer for files
    # gets this size, too: the files of a local run are few.
    "spark.buffer.size": "1024",
}
_START_SETTINGS = {
    "spark.ui.showConsoleProgress": "false",
    # Running counts reach the progress bar with the heartbeat; the default is 10 s.
    "spark.executor.heartbeatInterval": "1s",
}
_PACKAGE = Path(__file__).parent

# EMR writes the description of the cluster to this file on each of its nodes.
EMR_NODE = Path("/mnt/var/lib/info/job-flow.json")
# Spark properties in which emr/configurations.py tells the notebook about its cluster.
CODE, HOUR = "spark.fruits.code", "spark.fruits.hour"
IDLE_MINUTES, LIVY_MINUTES = "spark.fruits.idleMinutes", "spark.fruits.livyMinutes"


def open_session(
    *, master: str, driver_memory: str, name: str = "fruits", event_log: Path | None = None
) -> "SparkSession":
    """Return the session of this process, or start one; a local one ignores what the user has set for other Sparks.

    An empty `master` takes the settings of the cluster; with a local one the executor shares the driver's memory.
    The folder `event_log` must exist; a running session and a cluster keep their own settings.
    """
    settings, environment, log = _QUERY_SETTINGS | {"spark.app.name": name}, {}, None
    if master and not has_session():
        atexit.register((log := make_log()).unlink, missing_ok=True)
        settings |= _gather_settings(master, driver_memory=driver_memory, event_log=event_log)
        environment = choose_environment(master, os.environ)
    from pyspark.sql import SparkSession

    try:
        with clean_environment() if log and is_local(master) else nullcontext():
            os.environ |= environment
            if log:
                start_jvm(settings, log=log)
            session = SparkSession.builder.config(map=dict(settings)).getOrCreate()
    except Exception as error:
        if log:  # the sentence names it
            atexit.unregister(log.unlink)
        cause = describe_failed_start(error, log=log)
        raise FruitsError(f"Spark did not start with master {master!r}: {cause}") from error
    _complete_gateway(session)
    trust_workers(session.sparkContext)
    return session


def _gather_settings(master: str, *, driver_memory: str, event_log: Path | None) -> dict[str, str]:
    settings = choose_settings(master) | connect_s3(find_s3_jars(), local=is_local(master))
    options = choose_java_options(os.environ, local=is_local(master))
    settings |= {"spark.driver.memory": driver_memory, "spark.driver.extraJavaOptions": options}
    return settings | (eventlog.choose_settings(event_log) if event_log else {})


def _complete_gateway(session: "SparkSession") -> None:
    """Add what Livy's gateway to the JVM lacks; wait for the JVM of PySpark's own gateway when it ends."""
    from py4j.java_gateway import java_import

    gateway = session.sparkContext._gateway
    # vars(), because Livy's gateway answers every name with an object of Java.
    if jvm := vars(gateway).get("proc"):
        # A notebook's kernel ends its children and waits for them: a JVM that nobody waits for costs 2 seconds.
        threading.Thread(target=jvm.wait, daemon=True).start()
        return
    # PySpark 3.5 imports these when it starts a JVM; Livy 0.8 connects to one and imports too few (LIVY-863):
    # createDataFrame of a pandas table fails with "'JavaPackage' object is not callable".
    for package in ("sql.api.python", "ml.python", "resource"):
        java_import(gateway.jvm, f"org.apache.spark.{package}.*")  # type: ignore[union-attr]


@contextmanager
def limit_batches(spark: "SparkSession", rows: int) -> Iterator[None]:
    """Let the queries that are planned in the block hand so few rows to Python at once: 2,048 photographs are 6 GB."""
    before = str(spark.conf.get(_BATCH))
    spark.conf.set(_BATCH, str(rows))
    try:
        yield
    finally:
        spark.conf.set(_BATCH, before)


def has_session() -> bool:
    """Return whether Spark runs in this process."""
    from pyspark import SparkContext

    return SparkContext._active_spark_context is not None


def is_local(master: str) -> bool:
    """Return whether driver and executors of a master are on this machine."""
    return master.startswith("local")


def find_pyspark() -> Path:
    """Return the folder from which Python imports PySpark."""
    return Path(find_spec("pyspark").origin).parent  # type: ignore[union-attr, arg-type]


def choose_environment(master: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a Spark that is started here."""
    # Spark's default is the `python3` of the PATH. On other machines ours may be elsewhere or missing.
    python = sys.executable if is_local(master) else environ.get("PYSPARK_PYTHON") or sys.executable
    chosen = {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": sys.executable}
    if home := find_java_home(environ):
        chosen["JAVA_HOME"] = str(home)
    if not is_local(master):
        return chosen
    chosen |= {
        "SPARK_HOME": str(find_pyspark()),
        # A settings folder that is not there: with any file in it Java refuses to archive classes.
        "SPARK_CONF_DIR": str(_PACKAGE / "settings"),
        # Bind the web page to loopback, and do not look up the name of this machine.
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
    }
    if jars := find_s3_jars():
        # The end of the class path: in front of Spark's own jars they would make Java refuse the archive of classes.
        chosen["SPARK_DIST_CLASSPATH"] = os.pathsep.join(map(str, jars))
    # Java and the workers must encode names as this process does: under LC_ALL=C Java would write `?` for an accent.
    return chosen | ({"LC_ALL": "C.UTF-8"} if sys.getfilesystemencoding() == "utf-8" else {})


def choose_settings(master: str) -> dict[str, str]:
    """Return the settings of a Spark that is started here; other machines could not reach a driver on loopback."""
    # A local task may fail as often as one on a cluster: by default one worker that dies ends the run.
    master = re.sub(r"^local(?:\[([^],]+)\])?$", lambda match: f"local[{match[1] or 1},4]", master)
    settings = _START_SETTINGS | {"spark.master": master}
    if not is_local(master):
        return settings
    # Ivy has nothing to fetch, but needs a folder; its default is in the user's home, which may not exist.
    folders = dict.fromkeys(("spark.local.dir", "spark.jars.ivy", "spark.hadoop.hadoop.tmp.dir"), tempfile.gettempdir())
    return settings | _LOCAL_SETTINGS | folders


def find_s3_jars() -> list[Path]:
    """Return the jars that `make s3` fetched, with which Spark outside EMR reads and writes S3; may be empty."""
    return sorted((root / ".s3").glob("*.jar")) if (root := find_repository()) else []


def connect_s3(jars: list[Path], *, local: bool, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the settings that make S3 locations work as on EMR; empty without jars. Keys come from the AWS chain.

    A `local` Spark reads the jars in place (`choose_environment`); executors on other machines are sent 270 MB.
    """
    if not jars:
        return {}
    settings = {} if local else {"spark.jars": ",".join(map(str, jars))}
    settings |= {
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


def describe_session(spark: "SparkSession") -> dict[str, str]:
    """Return versions, master, cores and memory of a session."""
    context = spark.sparkContext
    return {
        "Spark": spark.version,
        "Java": context._jvm.System.getProperty("java.version"),  # type: ignore[union-attr]
        "Python": sys.version.split()[0],
        "master": str(context.master),
        "cores": str(context.defaultParallelism),
        "driver memory": str(context.getConf().get("spark.driver.memory", "1g")),
        "Spark's page, until it ends": context.uiWebUrl or "none",
    }


def describe_cluster(spark: "SparkSession", *, node: Path = EMR_NODE) -> dict[str, str]:
    """Return the EMR cluster of a session, its executors, its cost, and how it ends: one line of text each."""
    context, conf = spark.sparkContext, spark.sparkContext.getConf()
    executors = len(context._jsc.sc().statusTracker().getExecutorInfos()) - 1  # the driver is listed, too
    cores, memory = (conf.get(f"spark.executor.{name}", "?") for name in ("cores", "memory"))
    none = f"none yet, or the driver itself ({context.defaultParallelism} cores)"
    idle, livy = (conf.get(name, "?") for name in (IDLE_MINUTES, LIVY_MINUTES))
    return {
        "cluster": json.loads(node.read_text())["jobFlowId"] if node.is_file() else "this is not a node of EMR",
        "Spark": f"{spark.version}, {context.applicationId} on {context.master}",
        "executors": f"{executors} of {cores} cores, {memory}" if executors else none,
        "Python": f"{sys.version.split()[0]} ({sys.executable})",
        "cost": conf.get(HOUR, "unknown"),
        "stop it": "scripts/aws_setup.sh terminate, on your machine",
        "it ends": f"after {idle} idle minutes; an open session is not idle; it closes {livy} minutes after a cell",
    }
