"""The way to JupyterHub: a tunnel by SSH or by AWS Systems Manager to https://localhost:9443."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

from emr import cluster as clusters
from emr import hub, keypair, network
from emr.context import Context
from emr.forwarding import Forward, check_port, keep_open
from emr.request import Request
from fruits import folders
from fruits.errors import FruitsError, UsageError

PORT = 9443
KNOWN_HOSTS = ".fruits-known-hosts"
# A packet each so many seconds keeps the tunnel in the memory of routers, which forget a silent one after a minute or
# more; a peer that leaves three in a row unanswered is dead, and that is noticed within a minute.
ALIVE_SECONDS = 15
ALIVE_COUNT = 3
# Seconds until a host that does not answer is given up: Linux alone would try for two minutes.
CONNECT_SECONDS = 15
_USER = "hadoop"


def ssh_command(host: str, *, key: Path, known_hosts: Path, certain: bool, remote: str | None = None) -> list[str]:
    """Build the ssh command of the tunnel, or of a command over there.

    Parameters
    ----------
    certain
        Whether the host's keys are known already: a host with other keys is then refused, else ssh asks.
    remote
        A command to run on the primary node, on a terminal, in the place of the tunnel.
    """
    options = [
        f"StrictHostKeyChecking={'yes' if certain else 'ask'}",
        f"UserKnownHostsFile={_spell_path(known_hosts)}",
        f"IdentityFile={_spell_path(key)}",
        "IdentitiesOnly=yes",
        "ExitOnForwardFailure=yes",
        f"ConnectTimeout={CONNECT_SECONDS}",
        f"ServerAliveInterval={ALIVE_SECONDS}",
        f"ServerAliveCountMax={ALIVE_COUNT}",
    ]
    # No connection shared by the person's own settings: it could outlive the tunnel, and hold its port.
    command = ["ssh", "-S", "none", *(part for option in options for part in ("-o", option))]
    if remote:
        return [*command, "-t", f"{_USER}@{host}", remote]
    return [*command, "-N", "-L", f"{PORT}:localhost:{PORT}", f"{_USER}@{host}"]


def _spell_path(path: Path) -> str:
    """Write a path as a value of an option of ssh, which splits it at spaces and replaces what follows a %."""
    text = str(path).replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return f'"{text}"'


def ssm_command(instance: str, *, region: str, remote: str | None = None) -> list[str]:
    """Build the same by Systems Manager: no open port, no key; the AWS CLI and its session-manager-plugin."""
    session = ["aws", "ssm", "start-session", "--region", region, "--target", instance, "--document-name"]
    if remote:
        return [*session, "AWS-StartInteractiveCommand", "--parameters", json.dumps({"command": [remote]})]
    ports = {"portNumber": [str(PORT)], "localPortNumber": [str(PORT)]}
    return [*session, "AWS-StartPortForwardingSession", "--parameters", json.dumps(ports)]


def read_host_keys(console: str, *, host: str) -> list[str]:
    """Find the host keys that cloud-init writes to the console at first boot, as lines for known_hosts."""
    block = re.search(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", console, re.DOTALL)
    found = re.findall(r"((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+)", block[1]) if block else []
    return [f"{host} {key}" for key in found]


def connect(context: Context, *, ssm: bool, cidr: str | None, show: bool) -> int:
    """Open the tunnel and keep it open until Ctrl-C, over cuts; say where JupyterHub is, and how to set a password.

    Parameters
    ----------
    show
        Print the commands, open nothing.

    Raises
    ------
    FruitsError
        If the cluster is not ready, a tool or the key is missing, the port is taken, or the tunnel does not open.
    """
    cluster = context.state.need("cluster", command="create-cluster")
    opens = not (show or context.account.dry_run)
    if opens:
        check_port(PORT)
    primary = find_primary(context, cluster)
    remote = f"sudo docker exec -it jupyterhub passwd {hub.USER}"
    if ssm:
        command = ssm_command(primary["instance"], region=context.settings.region)
        password = ssm_command(primary["instance"], region=context.settings.region, remote=remote)
    else:
        command, password = _prepare_ssh(context, primary, cidr=cidr, remote=remote, show=show)
    context.say(f"JupyterHub:  https://localhost:{PORT} (its certificate is its own: the browser warns once)")
    context.say(f"User:        {hub.USER}, password jupyter until you set another, which you should do first, with")
    context.say(f"             {shlex.join(password)}")
    context.say(f"Tunnel:      {shlex.join(command)}")
    if not opens:
        return 0
    if shutil.which(command[0]) is None or (ssm and shutil.which("session-manager-plugin") is None):
        raise FruitsError(f"{command[0] if not ssm else 'aws or its session-manager-plugin'} is not installed here.")
    forward = describe_forward(command, ssm=ssm, key=context.key_file)
    return keep_open(forward, say=context.say, look=lambda: look_again(context, cluster, ssm=ssm, cidr=cidr))


def look_again(context: Context, cluster: str, *, ssm: bool, cidr: str | None) -> None:
    """Find out whether a tunnel that was cut can open again, and let in the address that this machine has now.

    Raises
    ------
    FruitsError
        If the cluster is over: it ends itself when it was idle for long enough.
    """
    unknown = "AWS could not be asked, or not told, what a tunnel needs to open again; the tries go on:"
    try:
        find_primary(context, cluster)
    except UsageError as error:
        raise FruitsError(f"the tunnel is over: {error}") from error
    except FruitsError as error:
        # Most likely the network is missing here, too.
        context.say(f"{unknown} {error}")
        return
    try:
        if not ssm:
            _let_in(context, cidr)
    except FruitsError as error:
        context.say(f"{unknown} {error}")


def describe_forward(command: list[str], *, ssm: bool, key: Path) -> Forward:
    """Tell how the end of the tunnel's program is to be read: what is a refusal, and what helps."""
    other = "" if ssm else ", which lets in your address of now, or `connect --ssm`"
    refusals = {
        "Host key verification failed": "no tunnel: the key of the host that answers is not one of this cluster's "
        "primary node, or was not accepted. Do not go on: `scripts/aws_setup.sh terminate`, and look who answers.",
        "Permission denied (": f"no tunnel: the primary node does not take the key {key}; it takes the one that the "
        "cluster was made with. Bring that one, or `connect --ssm`, which needs none.",
    }
    return Forward(
        command=command,
        port=PORT,
        url=f"https://localhost:{PORT}",
        # Systems Manager ends an idle session with 0, too.
        zero_is_wanted=not ssm,
        refusals={} if ssm else refusals,
        advice=f"What {command[0]} said stands above. `scripts/aws_setup.sh status` tells whether the cluster is "
        f"alive; if so, `connect` again{other}.",
    )


def find_primary(context: Context, cluster: str) -> dict[str, str]:
    """Return host name and instance id of the primary node.

    Raises
    ------
    UsageError
        If the cluster has none yet, or no more.
    """
    if context.account.dry_run:
        return {"host": "<primary node>", "instance": "<its instance>"}
    found = clusters.describe(context, cluster)
    if found["Status"]["State"] not in clusters.READY:
        raise UsageError(f"cluster {cluster} is {found['Status']['State']}; allowed: {', '.join(clusters.READY)}.")
    request = Request("emr", "list_instances", {"ClusterId": cluster, "InstanceGroupTypes": ["MASTER"]})
    instances = context.account.read_all(request, key="Instances")
    running = [entry for entry in instances if entry["Status"]["State"] not in ("TERMINATED", "BOOTSTRAPPING")]
    if not running:
        raise UsageError(f"cluster {cluster} has no primary node at work; see: scripts/aws_setup.sh status")
    host = running[0].get("PublicDnsName") or found.get("MasterPublicDnsName", "")
    return {"host": host, "instance": running[0]["Ec2InstanceId"]}


def _prepare_ssh(
    context: Context, primary: dict[str, str], *, cidr: str | None, remote: str, show: bool
) -> tuple[list[str], list[str]]:
    key, known_hosts = context.key_file, context.home / KNOWN_HOSTS
    if not context.account.dry_run:
        if not key.is_file():
            raise UsageError(f"there is no key file {key}; bring it, or connect by --ssm, which needs none.")
        keypair.check_mode(context)
    certain = _remember_host(context, primary, known_hosts)
    if not show and not context.account.dry_run:
        _let_in(context, cidr)
    tunnel = ssh_command(primary["host"], key=key, known_hosts=known_hosts, certain=certain)
    return tunnel, ssh_command(primary["host"], key=key, known_hosts=known_hosts, certain=certain, remote=remote)


def _let_in(context: Context, cidr: str | None) -> None:
    group = network.find_group(context, "primary")
    if group:
        network.allow_address(context, group["GroupId"], cidr=network.check_cidr(cidr or network.find_address()))


def _remember_host(context: Context, primary: dict[str, str], known_hosts: Path) -> bool:
    """Take the host's keys from its console, which AWS vouches for; without them ssh asks the person."""
    instance = {"InstanceId": primary["instance"]}
    request = Request("ec2", "get_console_output", instance, fine=("InvalidInstanceID.NotFound",))
    console = (context.account.read(request) or {}).get("Output", "")
    lines = read_host_keys(console, host=primary["host"])
    old = known_hosts.read_text().splitlines() if known_hosts.is_file() else []
    if lines and not context.account.dry_run:
        others = [line for line in old if not line.startswith(f"{primary['host']} ")]
        folders.write_bytes(known_hosts, (os.linesep.join([*others, *lines]) + os.linesep).encode())
    return bool(lines) or any(line.startswith(f"{primary['host']} ") for line in old)
