"""Which Java: the user's where Spark runs on it, else the one that comes with the packages."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fruits.errors import FruitsError
from fruits.java import drop_foreign, find_java_home, find_network_options, read_java_version

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


def test_java_that_fails_or_is_not_there_has_no_version(make_home: MakeHome, tmp_path: Path) -> None:
    broken = make_home('openjdk version "17.0.9"', code=1) / "bin/java"
    assert read_java_version(broken) is None
    broken.chmod(0o644)
    assert read_java_version(broken) is None
    assert read_java_version(broken.parent) is None
    assert read_java_version(tmp_path / "none") is None


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "17.0.9"])
def test_usable_java_home_is_taken(make_home: MakeHome, version: str) -> None:
    home = make_home(f'openjdk version "{version}"')
    assert find_java_home({"JAVA_HOME": str(home), "PATH": ""}) == home


@pytest.mark.parametrize(
    ("said", "code", "found"),
    [('openjdk version "21.0.1"', 0, "holds Java 21"), ("Segmentation fault", 139, "holds no bin/java that runs")],
)
def test_unusable_java_home_is_an_error_that_names_it(make_home: MakeHome, said: str, code: int, found: str) -> None:
    usable = make_home('openjdk version "17.0.9"', name="usable")
    home = make_home(said, code=code)
    with pytest.raises(FruitsError) as caught:
        find_java_home({"JAVA_HOME": str(home), "PATH": str(usable / "bin")})
    assert f"JAVA_HOME={home} {found}" in str(caught.value)
    assert "8, 11, 17" in str(caught.value)
    assert "unset" in str(caught.value)


def test_java_home_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FruitsError, match=f"JAVA_HOME={tmp_path / 'gone'} holds no bin/java"):
        find_java_home({"JAVA_HOME": str(tmp_path / "gone"), "PATH": os.environ["PATH"]})


@pytest.mark.parametrize("environ", [{}, {"JAVA_HOME": ""}], ids=["unset", "empty"])
def test_usable_java_on_the_path_needs_no_setting(make_home: MakeHome, environ: dict[str, str]) -> None:
    home = make_home('openjdk version "11.0.21"')
    assert find_java_home(environ | {"PATH": str(home / "bin")}) is None


@pytest.mark.parametrize("said", ['openjdk version "21.0.1"', "no Java runtime present", None])
def test_packaged_java_17_serves_where_there_is_no_other(make_home: MakeHome, said: str | None) -> None:
    home = find_java_home({"PATH": str(make_home(said) / "bin")} if said else {})
    assert home is not None
    assert read_java_version(home / "bin/java") == 17


def test_options_for_all_jvms_do_not_hide_a_usable_java(make_home: MakeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home("")
    (home / "bin/java").write_text('#!/bin/sh\n[ -z "$JAVA_TOOL_OPTIONS" ] && echo \'openjdk version "17"\' >&2\n')
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-javaagent:/nowhere.jar")
    assert read_java_version(home / "bin/java") == 17


def test_what_configures_other_sparks_is_dropped_and_nothing_else() -> None:
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
    assert set(drop_foreign(dict.fromkeys(f"{foreign} {kept}".split(), "x"))) == set(kept.split())


def test_of_the_options_for_all_jvms_those_of_the_network_stay() -> None:
    proxy, trust = "-Dhttps.proxyHost=proxy", "-Djavax.net.ssl.trustStore=/my keys"
    environ = {"JAVA_TOOL_OPTIONS": f"-Xmx16m {proxy} -Dspark.master=yarn", "_JAVA_OPTIONS": f"'{trust}' -Dx=y"}
    assert find_network_options(environ) == [proxy, trust]
    assert find_network_options({}) == find_network_options({"JAVA_TOOL_OPTIONS": "'open"}) == []
