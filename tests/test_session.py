"""Which settings a session is started with; what Spark makes of them is tested wherever Spark runs."""

import sys

import pytest

from fruits.session import choose_python, choose_settings

ELSEWHERE = {"PYSPARK_PYTHON": "/opt/fruits/venv/bin/python"}


@pytest.mark.parametrize("master", ["local", "local[*]", "local[2,4]", "local-cluster[2,1,1024]"])
def test_workers_of_this_machine_run_this_interpreter_and_loopback(master: str) -> None:
    assert choose_python(master, ELSEWHERE) == sys.executable
    settings = choose_settings(master)
    assert (settings["spark.driver.host"], settings["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("master", ["spark://10.0.0.1:7077", "yarn"])
def test_workers_of_other_machines_run_what_is_named_and_reach_the_driver(master: str) -> None:
    assert choose_python(master, ELSEWHERE) == ELSEWHERE["PYSPARK_PYTHON"]
    assert choose_python(master, {}) == choose_python(master, {"PYSPARK_PYTHON": ""}) == sys.executable
    assert not any(name.startswith("spark.driver.") for name in choose_settings(master))


@pytest.mark.parametrize("master", ["local[*]", "spark://10.0.0.1:7077"])
def test_every_session_started_here_reports_its_counts(master: str) -> None:
    assert choose_settings(master)["spark.executor.heartbeatInterval"] == "1s"
