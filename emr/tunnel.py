"""The way to JupyterHub: a new password, and a tunnel by SSH or Systems Manager to https://localhost:9443."""

import errno
import json
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from emr import access, cluster
from emr.bucket import HUB_USER
from emr.context import SETUP, Context, explain, strip_controls
from fruits import folders
from fruits.errors import FruitsError, UsageError

PORT = 9443
KNOWN_HOSTS = ".fruits-known-hosts"
# Seconds between tries, and until they end: the cluster goes on costing money, and the person has to look.
PAUSE, LIMIT = 3.0, 600.0
_ASK = f"sudo docker exec -it jupyterhub passwd {HUB_USER}"
_SET = "sudo docker exec -i jupyterhub chpasswd"  # reads USER:PASSWORD; a command line can be seen by others
_OPTIONS = (
    *("IdentitiesOnly=yes", "ExitOnForwardFailure=yes", "ConnectTimeout=15"),
    # A packet each 15 seconds keeps the tunnel in the memory of routers; three unanswered are a cut.
    *("ServerAliveInterval=15", "ServerAliveCountMax=3"),
    # A connection shared by the person's own settings could outlive the tunnel, and hold its port.
    "ControlPath=none",
)
# What ssh writes when another try cannot help.
_REFUSALS = {
    "Host key verification failed": f"another host answers, by its keys. Do not go on: `{SETUP} terminate`.",
    "Permission denied (": "{} is not the cluster's key. Move it away and repeat; or use `connect --ssm`.",
}


def connect(context: Context, *, ssm: bool, cidr: str | None, show: bool, keep_password: bool) -> dict[str, Any] | int:
    """Give the Hub's user a new password and keep the tunnel open until Ctrl-C; or `show` the commands only."""
    if not (show or context.dry_run):
        check_port()
    host, instance = ("<primary node>", "<its instance>") if context.dry_run else find_primary(context)
    if ssm:
        commands = ssm_commands(context, instance)
    else:
        commands = ssh_commands(context, host, certain=context.dry_run or _prepare_ssh(context, host, instance))
    if context.dry_run:
        return {"commands": [shlex.join(command) for command in commands.values()]}
    if not show and shutil.which(program := commands["tunnel"][0]) is None:
        raise FruitsError(f"{program} is not installed here; install it and repeat.")
    if ssm or show or keep_password:
        context.say(f"User:    {HUB_USER}, with password jupyter, which everybody knows, until you set another:")
        context.say(f"         {shlex.join(commands['ask'])}")
    if show:
        context.say(f"Tunnel:  {shlex.join(commands['tunnel'])}")
        return 0
    if not ssm:
        access.let_in(context, access.find_cidr(cidr))
        if not keep_password:
            context.say(f"User:    {HUB_USER}, with the new password {set_password(context, commands['set'])}")
    context.say("The browser warns once, since JupyterHub made its certificate itself.")
    return keep_open(context, commands, cidr=cidr)


def ssm_commands(context: Context, instance: str) -> dict[str, list[str]]:
    """Build the commands by Systems Manager: no open port, no key; the AWS CLI and its session-manager-plugin."""
    session = ["aws", "ssm", "start-session", "--region", context.settings.region, "--target", instance]
    ask, ports = json.dumps({"command": [_ASK]}), f"portNumber={PORT},localPortNumber={PORT}"
    return {
        "ask": [*session, "--document-name", "AWS-StartInteractiveCommand", "--parameters", ask],
        "tunnel": [*session, "--document-name", "AWS-StartPortForwardingSession", "--parameters", ports],
    }


def ssh_commands(context: Context, host: str, *, certain: bool) -> dict[str, list[str]]:
    """Build the commands by SSH; `certain` is whether the host's keys are known: ssh refuses others, or asks."""
    options = [
        f"StrictHostKeyChecking={'yes' if certain else 'ask'}",
        f"UserKnownHostsFile={_spell(context.home / KNOWN_HOSTS)}",
        f"IdentityFile={_spell(context.key_file)}",
    ]
    ssh, node = ["ssh", *(f"-o{option}" for option in (*options, *_OPTIONS))], f"hadoop@{host}"
    return {
        "ask": [*ssh, "-t", node, _ASK],
        "set": [*ssh, node, _SET],
        "look": [*ssh, node, "true"],
        "tunnel": [*ssh, "-N", "-L", f"{PORT}:localhost:{PORT}", node],
    }


def _spell(path: Path) -> str:
    """Write a path as a value of an option of ssh, which splits it at spaces and replaces what follows a %."""
    text = str(path).replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return f'"{text}"'


def find_primary(context: Context) -> tuple[str, str]:
    """Return the host name and the instance id of the primary node of the ready cluster."""
    found, emr = cluster.need_ready(context), context.client("emr")
    (instance,) = emr.list_instances(ClusterId=found["Id"], InstanceGroupTypes=["MASTER"])["Instances"]
    return found["MasterPublicDnsName"], instance["Ec2InstanceId"]


def _prepare_ssh(context: Context, host: str, instance: str) -> bool:
    """Fetch the key, and the host's keys from its console, which AWS vouches for; tell whether they were there."""
    access.fetch_key(context)
    console = context.client("ec2").get_console_output(InstanceId=instance).get("Output", "")
    block = re.search(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", console, re.DOTALL)
    keys = re.findall(r"((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+)", block[1]) if block else []
    if keys:
        folders.write_bytes(context.home / KNOWN_HOSTS, "".join(f"{host} {key}\n" for key in keys).encode())
    return bool(keys)


def set_password(context: Context, command: Sequence[str]) -> str:
    """Give the Hub's user a random password through a command's standard input, and return it."""
    password = secrets.token_urlsafe(12)
    if failure := _try(context, command, text=f"{HUB_USER}:{password}\n"):
        raise FruitsError(
            f"no tunnel: the password of {HUB_USER} was not set, and the first one is known to everybody: {failure}\n"
            "Repeat `connect`; or `connect --keep-password`, which sets none."
        )
    return password


def _try(context: Context, command: Sequence[str], *, text: str = "") -> str:
    """Run a command of ssh; return what it wrote if it failed, and raise FruitsError if it was refused."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    written = strip_controls(done.stderr).strip() or f"exit code {done.returncode}"
    for words, sentence in _REFUSALS.items():
        if words in written:
            raise FruitsError(f"{written}\nno tunnel: {sentence.format(context.key_file)}")
    return written if done.returncode else ""


def keep_open(context: Context, commands: Mapping[str, Sequence[str]], *, cidr: str | None) -> NoReturn:
    """Run the tunnel's program, and again after each cut, until Ctrl-C or until tries cannot help."""
    command, latest = commands["tunnel"], None
    while True:
        check_port()
        code, opened = _run(context, command)
        how, now = f"{command[0]} ended with {code}", time.monotonic()
        latest = now if opened else latest
        if latest is None or now - latest > LIMIT:
            raise FruitsError(f"no tunnel: {how}, why is above. See `{SETUP} status`; if it is alive, `connect` again.")
        what = f"The tunnel was cut after {now - opened:.0f} s" if opened else "Not open again yet"
        context.say(f"{time.strftime('%H:%M:%S')} {what}: {how}; trying again in {PAUSE:g} s. Ctrl-C ends it.")
        if not opened:
            look_again(context, commands, cidr=cidr)
        time.sleep(PAUSE)


def _run(context: Context, command: Sequence[str]) -> tuple[int, float | None]:
    """Run the program once; return its exit code, and since when the port was open."""
    opened = None
    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None and opened is None:
                if is_taken():
                    opened = time.monotonic()
                    context.say(f"Open: https://localhost:{PORT} (until you press Ctrl-C)")
                else:
                    time.sleep(0.1)
            return process.wait(), opened
        finally:
            process.terminate()


def look_again(context: Context, commands: Mapping[str, Sequence[str]], *, cidr: str | None) -> None:
    """Look whether a tunnel that was cut can open again, and let in the address of now; raise FruitsError if not."""
    try:
        cluster.need_ready(context)
        if "look" in commands:
            access.let_in(context, access.find_cidr(cidr))
    except UsageError as error:
        raise FruitsError(f"the tunnel is over: {error}") from error
    except Exception as error:  # most likely the network is missing here, too
        context.say(f"AWS was not reached; the tries go on: {explain(error) or error}")
    if "look" in commands:
        _try(context, commands["look"])


def check_port() -> None:
    """Raise FruitsError if another program listens on the port."""
    if is_taken():
        raise FruitsError(f"port {PORT} of this machine is taken; see by what (lsof -i :{PORT}), end that, and repeat.")


def is_taken() -> bool:
    """Look whether a program listens on the port of the loopback, IPv4 or IPv6, without a connection to it."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # So that connections that have just ended do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, PORT))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False
