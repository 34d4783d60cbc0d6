"""`make rehearse-image`: docker/Dockerfile's instructions, run one by one in a Debian; then what the image is for.

No Docker engine is needed, but root, debootstrap and the network. Debian stands in for the base image.
"""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template

import click
import requests
from dockerfile import DIGEST, FOLDER, Instruction, list_stages, read_dockerfile, read_settings
from emr.image import write_context

from fruits.params import repository

_PACKAGES = "python3.11,python3.11-venv,python3-distutils,ca-certificates"
# How this machine reaches package indexes; no instruction knows of it.
_NETWORK = re.compile(r"(PIP|UV|SSL|REQUESTS|CURL)_\w+|\w+_PROXY", re.IGNORECASE)
_IN_NAMESPACES = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec="$1" "$0" "${@:2}"'
)


class Machine:
    """A root folder in the place of a container: its variables, folder and user, as instructions set them."""

    def __init__(self, root: Path, *, debian: Path, context: Path) -> None:
        self.root, self.debian, self.context = root, debian, context
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        self.args: dict[str, str] = {}
        self.folder, self.user = "/", "0:0"
        subprocess.run(["cp", "--archive", f"{debian}/.", root], check=True)

    def do(self, entry: Instruction, *, given: dict[str, str], others: dict[str, "Machine"]) -> None:
        rest = Template(entry.rest).safe_substitute(self.args | self.env)
        match entry.word:
            case "ARG":
                name, _, default = entry.rest.partition("=")
                self.args[name] = given.get(name, default)
            case "ENV":
                self.env |= read_settings(entry.rest, known=self.args | self.env)
            case "WORKDIR":
                self.folder = rest
                (self.root / rest[1:]).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest if ":" in rest else f"{rest}:{rest}"
            case "COPY":
                self._copy(rest.split(), others=others)
            case "RUN":
                began = time.monotonic()
                # The shell expands variables, as Docker's does.
                self.run(["/bin/sh", "-c", entry.rest], network=True, env=self.args)
                click.echo(f"{time.monotonic() - began:6.1f} s  {entry.stage}: {entry.rest[:90]}")

    def _copy(self, words: list[str], *, others: dict[str, "Machine"]) -> None:
        source = self.context
        if words[0].startswith("--from="):
            source = others[words.pop(0).removeprefix("--from=")].root
        place, target = source / words[0].strip("/"), self.root / self.folder[1:] / words[1]
        target = self.root / words[1][1:] if words[1].startswith("/") else target
        if place.is_dir():
            subprocess.run(["cp", "--archive", "--no-target-directory", place, target], check=True)
        else:
            shutil.copy(place, target)

    def command(self, words: Sequence[str], *, network: bool, env: dict[str, str]) -> list[str]:
        """Return the command in namespaces of its own, as this machine's user; without a network, but with loopback."""
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        script = _IN_NAMESPACES if network else f"ip link set lo up && {_IN_NAMESPACES}"
        home = pwd.getpwuid(0).pw_dir if self.user.startswith("0:") else self.folder
        outer = {name: value for name, value in os.environ.items() if network and _NETWORK.fullmatch(name)}
        variables = {"HOME": home} | outer | env | self.env
        inner = ["/usr/bin/env", "-i", "-C", self.folder, *(f"{name}={value}" for name, value in variables.items())]
        return [*apart, "bash", "-c", script, str(self.root), self.user, *inner, *words]

    def run(self, words: Sequence[str], *, network: bool = False, env: dict[str, str] | None = None) -> str:
        command = self.command(words, network=network, env=env or {})
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            click.echo(f"{done.stdout}\nexit code {done.returncode} of: {' '.join(words)}")
            sys.exit(1)
        return done.stdout

    @contextmanager
    def serve(self, words: Sequence[str]) -> Iterator[None]:
        """Run a server beside what follows, in the network of this machine."""
        command = self.command(words, network=True, env={})
        server = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def build(target: str, folder: Path, *, debian: Path, given: dict[str, str]) -> Machine:
    """Run the instructions of a target and of the stages before it."""
    context = folder / "context"
    if not context.is_dir():
        context.mkdir()
        write_context(context)
    made: dict[str, Machine] = {}
    for stages in (list_stages("build"), list_stages(target)):
        machine = Machine(folder / f"{target}-{stages[0]}", debian=debian, context=context)
        made |= dict.fromkeys(stages, machine)
        for entry in read_dockerfile():
            if entry.stage in stages:
                machine.do(entry, given=given, others=made)
    shutil.rmtree(made["build"].root)
    return made[target]


def make_debian(folder: Path) -> None:
    """Make the base, which reaches the network as this machine does."""
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\ndebootstrap ended with {done.returncode}")
    # The base image of EMR Serverless has this user.
    subprocess.run(["chroot", folder, "useradd", "--system", "--user-group", "--create-home", "hadoop"], check=True)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(f"/{name}", folder / name)


def read_command(word: str) -> list[str]:
    """Return the list of a CMD, or that of the HEALTHCHECK."""
    (found,) = (entry.rest for entry in read_dockerfile() if entry.word == word)
    return [str(part) for part in json.loads(found[found.index("[") :])]


def answers(machine: Machine, url: str) -> bool:
    """Tell whether the healthcheck passes, and the address answers who gives no token."""
    check = machine.command(read_command("HEALTHCHECK"), network=True, env={})
    healthy = subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode == 0
    return healthy and requests.get(f"http://127.0.0.1:8888{url}", timeout=30).status_code == 200


def check_server(machine: Machine, words: list[str], url: str) -> None:
    """Start a server, and wait until it answers."""
    began = time.monotonic()
    with machine.serve(words):
        while not answers(machine, url):
            if time.monotonic() - began > 300:
                sys.exit(f"no answer from: {' '.join(words)}")
            time.sleep(2)
    click.echo(f"{time.monotonic() - began:6.1f} s  healthy, and answers at {url}: {' '.join(words)}")


def check_notebook(machine: Machine) -> None:
    """Run the sample without a network, and the server as Docker and as Studio start it."""
    began = time.monotonic()
    click.echo(machine.run(["fruits", "run", "MINI"]))
    click.echo(f"{time.monotonic() - began:6.1f} s  fruits run MINI as {machine.user}, without a network")
    click.echo(machine.run(["jupyter", "kernelspec", "list"]) + machine.run(["jupyterhub-singleuser", "--version"]))
    studio = json.loads((FOLDER / "app-image-config.json").read_text())[0]["JupyterLabAppImageConfig"][
        "ContainerConfig"
    ]
    check_server(machine, read_command("CMD"), "/api")
    check_server(
        machine,
        [*studio["ContainerEntrypoint"], *studio["ContainerArguments"]],
        "/jupyterlab/default/api/status",
    )


def check_worker(machine: Machine) -> None:
    """Import what a worker imports, as the user that EMR Serverless asks for."""
    script = (repository() / "emr" / "bootstrap.sh").read_text()
    (imports,) = re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON", script, re.DOTALL)
    code = f"{imports}\nimport fruits, getpass; print(getpass.getuser(), fruits.__file__)"
    click.echo(machine.run([machine.env["PYSPARK_PYTHON"], "-c", code]))


@click.command()
@click.option("--target", default="notebook", show_default=True, type=click.Choice(["notebook", "emr-serverless"]))
@click.option("--base", type=click.Path(path_type=Path), help="A root folder, such as that of a base image.")
def rehearse(target: str, base: Path | None) -> None:
    """Build a target, and use it."""
    if os.geteuid() or not shutil.which("debootstrap"):
        sys.exit("make rehearse-image needs root and debootstrap: sudo apt-get install debootstrap")
    given = {"BASE_IMAGE": f"debian@{DIGEST}", "VERSION": "0", "REVISION": "0" * 40}
    with tempfile.TemporaryDirectory() as name:
        debian = base or Path(name) / "debian"
        if not base:
            make_debian(debian)
        if target == "emr-serverless":
            given["REQUIREMENTS"] = "emr/requirements-worker.txt"
        machine = build(target, Path(name), debian=debian, given=given)
        size = subprocess.run(["du", "-sm", machine.root], capture_output=True, text=True, check=True).stdout.split()[0]
        click.echo(f"{size} MB, base included")
        (check_notebook if target == "notebook" else check_worker)(machine)
    click.echo("It can be built and used.")


if __name__ == "__main__":
    rehearse()
