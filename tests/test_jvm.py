"""The start of a JVM: what it does not see of the user's settings, and what is said if it fails."""

import os
import re
import subprocess
import sys
import tempfile
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import pytest

from fruits import jvm
from fruits.errors import UsageError
from fruits.jvm import check_private, describe_failed_start, hide_foreign

NO_ROOM = """Picked up nothing
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
def test_java_is_quoted_and_its_log_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "java.log").write_text(text)
    said = describe_failed_start(RuntimeError("Java gateway process exited"), log=tmp_path / "java.log")
    assert said.startswith(words)
    assert said.endswith(f" (Java's log: {tmp_path}/java.log)")
    assert "\n" not in said


def test_the_users_settings_are_hidden_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SPARK_")]:  # of a session before
        monkeypatch.delenv(name)
    monkeypatch.setenv("HADOOP_CONF_DIR", "/theirs")
    monkeypatch.setenv("SPARK_REMOTE", "sc://theirs")
    monkeypatch.setenv("LC_ALL", "C")
    before = dict(os.environ)
    with suppress(ZeroDivisionError), hide_foreign():
        assert not {"HADOOP_CONF_DIR", "SPARK_REMOTE"} & set(os.environ)
        os.environ |= {"LC_ALL": "C.UTF-8", "SPARK_HOME": "/ours", "SPARK_BUFFER_SIZE": "1"}
        os.environ["X"] = str(1 / 0)
    # PySpark would take its own session for a remote one; and it needs what it has set itself.
    del before["SPARK_REMOTE"]
    assert dict(os.environ) == before | {"SPARK_BUFFER_SIZE": "1"}
    monkeypatch.delenv("SPARK_BUFFER_SIZE")


@pytest.mark.parametrize("name", ["a,b", "12:30"])
def test_a_temporary_folder_that_spark_would_cut_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/x/{name}")
    with pytest.raises(UsageError, match=f"TMPDIR=/x/{name}: .* name another"):
        check_private(cluster=False)


def test_a_full_temporary_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")(2**20)
    monkeypatch.setattr(jvm.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match="1 MiB left, and Spark needs 64; make room, or set TMPDIR"):
        check_private(cluster=False)


def test_a_lack_of_any_temporary_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(UsageError, match=r"No usable temporary directory found.*; set TMPDIR"):
        check_private(cluster=False)


def test_another_pyspark_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark/__init__.py").touch()
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=f"PySpark would come from {tmp_path}/pyspark, .*PYTHONPATH"):
        check_private(cluster=False)


def test_executors_need_a_user_who_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    check_private(cluster=False)
    with pytest.raises(UsageError, match="no user 2147483646"):
        check_private(cluster=True)


def test_a_python_that_prints_when_it_starts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"prints 'hello\\n' whenever it starts.*sitecustomize\.py"):
        check_private(cluster=False)


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
def test_a_start_that_fails_ends_in_one_sentence_and_keeps_its_log(memory: str, words: str, tmp_path: Path) -> None:
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
