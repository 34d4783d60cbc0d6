"""Java: which one Spark uses, in which environment it starts, and what is said if it fails."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from fruits.errors import FruitsError
from fruits.java import (
    CLASSES,
    choose_java_options,
    clean_environment,
    describe_failed_start,
    drop_spark_variables,
    find_java_home,
    find_network_options,
    list_supported_java,
    read_java_version,
    stop_jvm,
)

MakeHome = Callable[..., Path]


@pytest.fixture
def make_home(tmp_path: Path) -> MakeHome:
    """Make a Java home whose `java` says a text on stderr and exits."""

    def make(said: str, *, code: int = 0, name: str = "jdk") -> Path:
        java = tmp_path / name / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
        java.chmod(0o755)
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('java version "1.8.0_392"', 8),
        ('openjdk version "11.0.21" 2023-10-17 LTS', 11),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "17" 2021-09-14', 17),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ("something else", None),
    ],
)
def test_version_is_the_major_one(make_home: MakeHome, said: str, version: int | None) -> None:
    assert read_java_version(make_home(said) / "bin/java") == version


def test_missing_or_failing_java_has_no_version(make_home: MakeHome, tmp_path: Path) -> None:
    broken = make_home('openjdk version "17.0.9"', code=1) / "bin/java"
    assert read_java_version(broken) is None
    broken.chmod(0o644)
    assert read_java_version(broken) is None
    assert read_java_version(broken.parent) is None
    assert read_java_version(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("said", "code", "found"),
    [
        ('openjdk version "21.0.1"', 0, "holds Java 21"),
        ("Segmentation fault", 139, "holds no bin/java that runs"),
        (None, 0, "holds no bin/java that runs"),
    ],
)
def test_unusable_java_home_is_refused(
    make_home: MakeHome, said: str | None, code: int, found: str, tmp_path: Path
) -> None:
    usable = make_home('openjdk version "17.0.9"', name="usable")
    home = make_home(said, code=code) if said else tmp_path / "gone"
    with pytest.raises(FruitsError) as caught:
        find_java_home({"JAVA_HOME": str(home), "PATH": str(usable / "bin")})
    assert f"JAVA_HOME={home} {found}; Spark needs Java 8, 11, 17; set JAVA_HOME" in str(caught.value)
    assert "unset" in str(caught.value)


@pytest.mark.parametrize(("spark", "java"), [("3.5.8", (8, 11, 17)), ("4.0.5", (17, 21)), ("4.2.0.dev1", (17, 21))])
def test_java_is_one_that_this_spark_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: str, java: tuple[int, ...]
) -> None:
    """The Spark that Python would import, wherever it is: its own metadata are missing on a cluster."""
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark/__init__.py").touch()
    (tmp_path / "pyspark/version.py").write_text(f'__version__: str = "{spark}"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    assert list_supported_java() == java


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "17.0.9"])
def test_usable_java_is_taken_from_java_home_or_the_path(make_home: MakeHome, version: str) -> None:
    home = make_home(f'openjdk version "{version}"')
    assert find_java_home({"JAVA_HOME": str(home), "PATH": ""}) == home
    for environ in ({}, {"JAVA_HOME": ""}):
        assert find_java_home(environ | {"PATH": str(home / "bin")}) is None


@pytest.mark.parametrize("said", ['openjdk version "21.0.1"', "no Java runtime present", None])
def test_packaged_java_17_is_used_if_there_is_no_other(make_home: MakeHome, said: str | None) -> None:
    home = find_java_home({"PATH": str(make_home(said) / "bin")} if said else {})
    assert home is not None
    assert read_java_version(home / "bin/java") == 17


def test_java_options_of_the_user_do_not_break_the_version_check(
    make_home: MakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home("")
    (home / "bin/java").write_text('#!/bin/sh\n[ -z "$JAVA_TOOL_OPTIONS" ] && echo \'openjdk version "17"\' >&2\n')
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-javaagent:/nowhere.jar")
    assert read_java_version(home / "bin/java") == 17


def test_variables_of_spark_and_java_are_dropped_and_no_others() -> None:
    foreign = (
        "SPARK_HOME SPARK_CONF_DIR SPARK_REMOTE SPARK_LOCAL_DIRS SPARK_ENV_LOADED SPARK_DIST_CLASSPATH PYSPARK_PYTHON "
        "PYSPARK_SUBMIT_ARGS HADOOP_CONF_DIR HADOOP_USER_NAME YARN_CONF_DIR HIVE_HOME LOG4J_CONFIGURATION_FILE "
        "JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CONTAINER_ID LOCAL_DIRS MASTER DEPLOY_MODE MESOS_SANDBOX "
        "BASH_ENV BASH_FUNC_ps%% SHELLOPTS CLASSPATH"
    )
    kept = (
        "JAVA_HOME TMPDIR AWS_PROFILE AWS_ENDPOINT_URL HTTPS_PROXY no_proxy KERAS_HOME PATH HOME LANG PYTHONPATH "
        "FRUITS_REPORT_DRAFT XDG_CACHE_HOME"
    )
    assert set(drop_spark_variables(dict.fromkeys(f"{foreign} {kept}".split(), "x"))) == set(kept.split())


def test_network_options_of_java_are_kept() -> None:
    proxy, trust = "-Dhttps.proxyHost=proxy", "-Djavax.net.ssl.trustStore=/my keys"
    environ = {"JAVA_TOOL_OPTIONS": f"-Xmx16m {proxy} -Dspark.master=yarn", "_JAVA_OPTIONS": f"'{trust}' -Dx=y"}
    assert find_network_options(environ) == [proxy, trust]
    assert find_network_options({}) == find_network_options({"JAVA_TOOL_OPTIONS": "'open"}) == []


def test_an_archive_of_classes_that_was_cut_off_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JVM that maps one of another size dies; what else does not fit, it leaves aside."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / CLASSES.format(3)).write_bytes(b"ab")
    assert "SharedArchive" not in choose_java_options({}, local=True)
    (tmp_path / CLASSES.format(2)).write_bytes(b"ab")
    assert f"-XX:SharedArchiveFile={tmp_path}/spark-classes-2.jsa" in choose_java_options({}, local=True)
    assert "SharedArchive" not in choose_java_options({}, local=False)


NO_ROOM = """[0.2s][warning][cds,dynamic] Unable to use shared archive.
Error occurred during initialization of VM
Could not reserve enough space for 1048576000KB object heap
/venv/pyspark/bin/spark-class: line 97: CMD: bad array subscript
head: illegal line count -- -1
"""
CRASH = """#
# There is insufficient memory for the Java Runtime Environment to continue.
# Native memory allocation (mmap) failed to map 16 bytes
#
\tat org.apache.spark.X.main(X.scala:1)
\t... 3 more
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NO_ROOM, "Error occurred during initialization of VM; Could not reserve enough space for 1048576000KB object"),
        (CRASH, "There is insufficient memory for the Java Runtime Environment to continue.; Native memory"),
        (f'{NO_ROOM}Exception in thread "main" a.b.IllegalException: no', 'Exception in thread "main" a.b.Illegal'),
        ("", "Java gateway process exited"),
    ],
)
def test_failed_start_quotes_the_log_and_names_it(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "java.log").write_text(text)
    said = describe_failed_start(RuntimeError("Java gateway process exited"), log=tmp_path / "java.log")
    assert said.startswith(words)
    assert said.endswith(f" (Java's log: {tmp_path}/java.log)")
    assert "\n" not in said


def test_clean_environment_hides_the_users_settings_and_restores_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SPARK_")]:  # of a session before
        monkeypatch.delenv(name)
    monkeypatch.setenv("HADOOP_CONF_DIR", "/theirs")
    monkeypatch.setenv("SPARK_REMOTE", "sc://theirs")
    monkeypatch.setenv("LC_ALL", "C")
    before = dict(os.environ)
    with suppress(ZeroDivisionError), clean_environment():
        assert not {"HADOOP_CONF_DIR", "SPARK_REMOTE"} & set(os.environ)
        os.environ |= {"LC_ALL": "C.UTF-8", "SPARK_HOME": "/ours", "SPARK_BUFFER_SIZE": "1"}
        os.environ["X"] = str(1 / 0)
    # SPARK_REMOTE would turn the session into a remote one; what PySpark sets itself stays.
    del before["SPARK_REMOTE"]
    assert dict(os.environ) == before | {"SPARK_BUFFER_SIZE": "1"}
    monkeypatch.delenv("SPARK_BUFFER_SIZE")


START = """
import sys
from fruits.errors import FruitsError
from fruits.session import open_session

try:
    open_session(master="local[1]", driver_memory=sys.argv[1])
except FruitsError as error:
    print(error)
"""
BROKEN_JAVA = """#!/bin/sh
[ "$1" = -version ] && { echo 'openjdk version "17.0.9"' >&2; exit; }
echo 'library initialization failed - unable to allocate file descriptor table' >&2
exit 134
"""


@pytest.mark.parametrize(
    ("memory", "words"),
    [("900000g", "Could not reserve enough space|Invalid maximum heap size"), ("1g", "library initialization failed")],
)
def test_failed_start_is_one_sentence_and_keeps_its_log(memory: str, words: str, tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "_JAVA_OPTIONS": "-Xmx1g"}
    if memory == "1g":
        (tmp_path / "jdk/bin").mkdir(parents=True)
        (tmp_path / "jdk/bin/java").write_text(BROKEN_JAVA)
        (tmp_path / "jdk/bin/java").chmod(0o755)
        environ["JAVA_HOME"] = str(tmp_path / "jdk")
    command = [sys.executable, "-c", START, memory]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True).stdout

    (log,) = tmp_path.glob("fruits-spark-*.log")
    assert said.startswith("Spark did not start with master 'local[1]': ")
    assert said.endswith(f" (Java's log: {log})\n")
    assert re.search(words, said)
    assert said.count("\n") == 1
    assert re.search(words, log.read_text())


STOPPED = """
import fruits.session

def stop(*_, **__):
    raise KeyboardInterrupt

fruits.session.start_jvm = stop
try:
    fruits.session.open_session(master="local[1]", driver_memory="1g")
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_start_that_is_stopped_leaves_no_log(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", STOPPED]
    assert subprocess.run(command, env=environ, capture_output=True, timeout=60, check=True).stdout == b"stopped\n"
    assert not [*tmp_path.glob("fruits-*")]


def test_the_jvm_of_this_process_is_ended_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jvm = subprocess.Popen(["sleep", "60"])
    for gateway in (SimpleNamespace(proc=jvm), SimpleNamespace(), None):  # Livy's gateway has no process; none at all
        monkeypatch.setattr("pyspark.SparkContext._gateway", gateway)
        stop_jvm()
    assert jvm.returncode == -15
