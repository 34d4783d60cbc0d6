"""Machines that are not there: a Spark standalone cluster in network namespaces, as far apart as one computer can be.

The primary machine holds Spark's master and the driver, as on EMR, and a switch that cables lead to: a worker's machine
reaches nothing but that switch. The disk is common to all, as the bucket is. Where the system allows no namespaces
(they need root and iproute2) machines are addresses of the loopback, which cannot be unplugged.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyspark
from cloud import clean_environ
from namespaces import add_namespace, remove_namespaces, run_ip, set_cable, start_inside

from fruits.java import find_java_home

SPARK_HOME = Path(pyspark.__file__).parent
_CLASS = "org.apache.spark.deploy"
# Seconds of silence after which the master gives a worker up; the default is 60.
_SILENCE = 8


@dataclass
class Machine:
    name: str
    address: str
    namespace: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, env: Mapping[str, str], log: str) -> Path:
        """Start a process on this machine; return the file that it writes to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"SPARK_LOCAL_IP": self.address, "SPARK_LOCAL_DIRS": str(self.folder / "local")}
        file = self.folder / log
        self.processes.append(start_inside(self.namespace, command, log=file, env={**_environ(), **own, **env}))
        return file

    def lose(self) -> None:
        """Pull the cable, so that nobody is told, then kill -9 the worker and its executors."""
        if self.namespace:
            set_cable(self.namespace, plugged=False)
        self.kill()

    def kill(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


@dataclass(frozen=True)
class Cluster:
    master: str
    primary: Machine
    workers: tuple[Machine, Machine]


@contextmanager
def start_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a master and two workers of one core each, and end all that runs on their machines afterwards."""
    machines = _make_machines(folder)
    primary, *workers = machines
    command = str(SPARK_HOME / "bin" / "spark-class")
    try:
        options = ["--host", primary.address, "--port", "0", "--webui-port", "0"]
        log = primary.start(command, f"{_CLASS}.master.Master", *options, env={}, log="master.log")
        master = wait_for(log, r"Starting Spark master at (spark://\S+)")
        for worker in workers:
            options = ["--host", worker.address, "--webui-port", "0", "--cores", "1", "--memory", "1g"]
            options += ["--work-dir", str(worker.folder / "work"), master]
            log = worker.start(command, f"{_CLASS}.worker.Worker", *options, env={}, log="worker.log")
        for worker in workers:
            wait_for(worker.folder / "worker.log", r"(Successfully registered) with master")
        yield Cluster(master, primary, (workers[0], workers[1]))
    finally:
        for machine in machines:
            machine.kill()
        remove_namespaces(machine.namespace for machine in machines)


def wait_for(log: Path, pattern: str, *, seconds: float = 60) -> str:
    """Return what the group of a pattern matched, as soon as a log shows it."""
    end = time.monotonic() + seconds
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        assert time.monotonic() < end, f"{log}: no {pattern!r} in {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)
    return found[1]


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in clean_environ().items() if not name.startswith(("PYSPARK", "SPARK"))}
    return kept | {
        "JAVA_HOME": str(find_java_home() or os.environ.get("JAVA_HOME", "")),
        "SPARK_HOME": str(SPARK_HOME),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dspark.worker.timeout={_SILENCE}",
    }


def _make_machines(folder: Path) -> list[Machine]:
    names = ("primary", "one", "two")
    spaces = [f"fruits-{os.getpid()}-{name}" for name in names]
    try:
        _connect(spaces)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"machines on loopback addresses, there are no network namespaces: {error}")  # noqa: T201 - pytest's
        remove_namespaces(spaces)
        return [Machine(name, f"127.0.0.{number}", "", folder / name) for number, name in enumerate(names, 1)]
    return [
        Machine(name, f"10.77.0.{number}", space, folder / name)
        for number, (name, space) in enumerate(zip(names, spaces, strict=True), 1)
    ]


def _connect(spaces: list[str]) -> None:
    """Make a namespace for each machine; the first has the switch and an address on it."""
    for space in spaces:
        add_namespace(space)
    primary, *others = spaces
    run_ip("-n", primary, "link", "add", "switch", "type", "bridge")
    run_ip("-n", primary, "addr", "add", "10.77.0.1/24", "dev", "switch")
    run_ip("-n", primary, "link", "set", "switch", "up")
    for number, space in enumerate(others, 2):
        port = f"port{number}"
        run_ip("-n", primary, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        run_ip("-n", primary, "link", "set", port, "master", "switch", "up")
        run_ip("-n", space, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
        set_cable(space, plugged=True)
