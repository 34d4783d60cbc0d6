"""Whole runs of a user who has another Spark, a locale without letters, no name or a host name that leads nowhere."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

FRUITS = str(Path(sys.executable).with_name("fruits"))
PATIENCE = 400
HOSTILE_DEFAULTS = """
spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs false
spark.master yarn
spark.submit.deployMode cluster
spark.eventLog.enabled true
spark.eventLog.dir /nowhere
spark.jars.packages no.such:package:1
spark.sql.extensions no.such.Extension
spark.plugins no.such.Plugin
spark.serializer no.such.Serializer
spark.driver.extraJavaOptions -XX:NoSuchOption
spark.ui.port 4040
"""
DEFAULT_FS = """<configuration><property><name>fs.defaultFS</name><value>hdfs://127.0.0.1:9</value></property>
<property><name>hadoop.security.authentication</name><value>kerberos</value></property></configuration>"""


def write_hostile_settings(folder: Path) -> dict[str, str]:
    """Write what a user may have for other Sparks, all of it wrong for this one; return their environment."""
    texts = {
        "spark-defaults.conf": HOSTILE_DEFAULTS,
        "spark-env.sh": "echo hostile >&2; exit 7\n",
        "core-site.xml": DEFAULT_FS,
        "hive-site.xml": "not XML",
        "log4j2.properties": "rootLogger.level = trace\n",
        "bash_env": "export HADOOP_CONF_DIR=/nowhere; exit 7\n",
    }
    # What an active conda environment puts in front of the PATH.
    programs = {"java": "echo 'openjdk version \"25.0.1\"' >&2", "python": "exit 7", "python3": "exit 7"}
    (folder / "bin").mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    folders = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "HIVE_CONF_DIR")
    return dict.fromkeys(folders, str(folder)) | {
        "SPARK_HOME": "/nowhere/spark",
        "SPARK_REMOTE": "sc://127.0.0.1:9",
        "SPARK_CONNECT_MODE_ENABLED": "1",
        "SPARK_LOCAL_DIRS": "/proc/nowhere",
        "SPARK_LOCAL_IP": "192.0.2.1",
        "SPARK_PREFER_IPV6": "true",
        "SPARK_AUTH_SOCKET_TIMEOUT": "never",
        "PYSPARK_SUBMIT_ARGS": "--master yarn",
        "PYSPARK_PYTHON": "/nowhere/python",
        "PYSPARK_DRIVER_PYTHON": "jupyter",
        "PYSPARK_DRIVER_PYTHON_OPTS": "notebook",
        "CONDA_PREFIX": str(folder),
        "CONDA_DEFAULT_ENV": "base",
        "VIRTUAL_ENV": "/nowhere/venv",
        "LD_LIBRARY_PATH": "/nowhere/lib",
        "JAVA_LD_LIBRARY_PATH": "/nowhere/lib/server",
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYSPARK_GATEWAY_PORT": "9",
        "PYSPARK_GATEWAY_SECRET": "secret",
        "HADOOP_HOME": "/nowhere/hadoop",
        "JAVA_TOOL_OPTIONS": "-Dspark.master=yarn -javaagent:/nowhere.jar",
        "_JAVA_OPTIONS": "-Xmx16m",
        "BASH_ENV": str(folder / "bash_env"),
        "CONTAINER_ID": "container_1",
        "DEPLOY_MODE": "cluster",
        "LC_ALL": "C",
    }


def run_sample(folder: Path, *, models: Path, environ: dict[str, str], prefix: Sequence[str] = ()) -> set[str]:
    """Run the sample in a folder and return the addresses at which its processes listened."""
    shutil.copytree(models, folder / "out/models")
    settings = {"input_dir": folder / "images", "output_dir": folder / "out", "report_dir": folder / "reports"}
    more = [f"--set={key}={value}" for key, value in settings.items()]
    command = [*prefix, FRUITS, "run", "MINI", "--set=max_images=18", "--set=evaluate=false", *more]
    log = folder / "run.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environ, stdout=stream, stderr=stream, cwd=folder, umask=0o077)
    addresses: set[str] = set()
    watcher = threading.Thread(target=watch_ports, args=(process, addresses))
    watcher.start()
    try:
        code = process.wait(timeout=PATIENCE)
    finally:
        process.kill()  # the kernel and Spark follow
        watcher.join()
    assert code == 0, log.read_text()[-3000:]
    return addresses


def watch_ports(process: "subprocess.Popen[bytes]", addresses: set[str]) -> None:
    while process.poll() is None:
        with suppress(psutil.Error):
            ours = psutil.Process(process.pid).children(recursive=True)
            for child in ours:
                connections = child.net_connections("inet")
                addresses |= {used.laddr.ip for used in connections if used.status == psutil.CONN_LISTEN}
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.3)


def check_results(folder: Path) -> None:
    """Check that the run's tables and report are there, and no folder that nobody named."""
    scores = pq.read_table(str(folder / "out/MINI/pca/parquet"))
    assert len(scores) == 18
    assert json.loads((folder / "reports/sample/MINI/manifest.json").read_text())["counts"]["features"] == 18
    assert (folder / "out/MINI/model_info/pca_model/data/_SUCCESS").exists()


@pytest.fixture
def taken_ports() -> Iterator[None]:
    """Take the ports that Spark's web page tries, as far as they are free."""
    with ExitStack() as stack:
        for port in range(4040, 4061):
            with suppress(OSError):
                taken = stack.enter_context(socket.socket())
                taken.bind(("127.0.0.1", port))
                taken.listen()
        yield


@pytest.mark.notebook
@pytest.mark.usefixtures("taken_ports")
def test_the_users_other_spark_does_not_reach_a_run(tmp_path: Path, models: Path) -> None:
    place, temporary = tmp_path / "Été 漢 [v1], 100% run 12:30", tmp_path / "tmp é"
    place.mkdir()
    temporary.mkdir()
    hostile = write_hostile_settings(tmp_path / "conf")

    addresses = run_sample(place, models=models, environ={**os.environ, **hostile, "TMPDIR": str(temporary)})

    check_results(place)
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([place.name, temporary.name, "conf"])
    assert sorted(path.name for path in place.iterdir()) == [".in-use", "images", "out", "reports", "run.log"]
    assert not list(temporary.glob("fruits-*"))


def as_nobody_nowhere() -> list[str]:
    """Return what runs a command as a user without a name, on a machine whose name leads nowhere, without network."""
    inside = 'hostname no-such-host; ip link set lo up; exec unshare --user --map-user=12345 --map-group=12345 "$@"'
    command = ["unshare", "--map-root-user", "--uts", "--net", "sh", "-c", inside, "sh"]
    check = "import socket; socket.create_server(('127.0.0.1', 0)); assert socket.gethostname() == 'no-such-host'"
    if subprocess.run([*command, sys.executable, "-c", check], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of users, names and networks can be made here")
    return command


@pytest.mark.notebook
def test_a_user_without_name_and_home_on_a_machine_without_address(tmp_path: Path, models: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in {"HOME", "USER", "LOGNAME"}}
    prefix = as_nobody_nowhere()
    run_sample(tmp_path, models=models, environ=environ | {"TMPDIR": str(tmp_path)}, prefix=prefix)

    check_results(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".in-use", "images", "out", "reports", "run.log"]
