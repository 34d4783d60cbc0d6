"""Access to JupyterHub and Spark's pages: key, address, a new password, and a tunnel by SSH or Systems Manager."""

import errno
import ipaddress
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from emr import cluster, stacks
from emr.context import HUB_USER, SETUP, Context, explain
from fruits import folders
from fruits.errors import FruitsError, UsageError, strip_controls

PORT = 9443
# Here, by SSH only: Spark's History Server (18080 there) and YARN's web proxy to a running application (20888).
HISTORY, LIVE = 9444, 9445
KNOWN_HOSTS = ".fruits-known-hosts"
ADDRESS_URL = "https://checkip.amazonaws.com"
# Seconds between tries, and until they end: the cluster goes on costing money, and the person has to look.
PAUSE, LIMIT = 3.0, 600.0
_SSH = 22
_ASK = f"sudo docker exec -it jupyterhub passwd {HUB_USER}"
_SET = "sudo docker exec -i jupyterhub chpasswd"  # reads USER:PASSWORD; a command line can be seen by others
_OPTIONS = (
    *("IdentitiesOnly=yes", "ExitOnForwardFailure=yes", "ConnectTimeout=15"),
    # A packet each 15 seconds keeps the tunnel in the memory of routers; three unanswered are a cut.
    *("ServerAliveInterval=15", "ServerAliveCountMax=3"),
    # A connection shared by the person's own settings could outlive the tunnel, and hold its port.
    "ControlPath=none",
)


def connect(context: Context, *, ssm: bool, cidr: str | None, show: bool, keep_password: bool) -> dict[str, Any] | int:
    """Set a new password of JupyterHub and open the tunnel to https://localhost:9443."""
    if not (show or context.dry_run):
        check_port()
    host, instance = ("<primary node>", "<its instance>") if context.dry_run else find_primary(context)
    if ssm:
        commands = ssm_commands(context, instance)
    else:
        commands = ssh_commands(context, host, certain=context.dry_run or _prepare_ssh(context, host, instance))
    if context.dry_run:
        return {"commands": [shlex.join(command) for command in commands.values()]}
    if ssm or show or keep_password:
        context.say(f"User:    {HUB_USER}, with password jupyter, which everybody knows, until you set another:")
        context.say(f"         {shlex.join(commands['ask'])}")
    if show:
        context.say(f"Tunnel:  {shlex.join(commands['tunnel'])}")
        return 0
    if shutil.which(program := commands["tunnel"][0]) is None:
        raise FruitsError(f"{program} is not installed here; install it and repeat.")
    if not ssm:
        let_in(context, find_cidr(cidr))
        if not keep_password:
            context.say(f"User:    {HUB_USER}, with the new password {set_password(commands['set'])}")
        context.say(f"Spark:   http://localhost:{HISTORY}; while it runs: http://localhost:{LIVE}/proxy/APPLICATION/")
    context.say("The browser warns once, since JupyterHub made its certificate itself.")
    return keep_open(context, commands["tunnel"], ssm=ssm, cidr=cidr)


def fetch_key(context: Context) -> dict[str, Any] | None:
    """Fetch the SSH key that create-bucket made, into a file of mode 400."""
    file, pair = context.key_file, f"{context.settings.name}-key"
    if context.dry_run:
        return {"key": pair, "file": str(file)}
    if not file.exists():
        (found,) = context.client("ec2").describe_key_pairs(KeyNames=[pair])["KeyPairs"]
        name = f"/ec2/keypair/{found['KeyPairId']}"
        key = context.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        # The file is made with its final mode: there is no moment in which others can read it.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
            stream.write(key)
        context.say(f"Key: {file} (mode 400), from Parameter Store.")
    return None


def find_cidr(given: str | None) -> str:
    """Check that the address that was given is one of IPv4, or ask AWS which one this machine has."""
    address = given
    try:
        if not address:
            with urllib.request.urlopen(ADDRESS_URL, timeout=10) as answer:  # noqa: S310 - a constant
                address = answer.read(64).decode().strip()
        return f"{ipaddress.IPv4Address(address.removesuffix('/32'))}/32"
    except (OSError, ValueError) as error:
        advice = "allowed is one IPv4 address, such as --cidr 203.0.113.7/32; for any other, use `connect --ssm`."
        raise (UsageError if given else FruitsError)(f"--cidr {given or ADDRESS_URL}: {error}; {advice}") from error


def let_in(context: Context, cidr: str) -> None:
    """Open SSH of the primary node to one address, and close it to every other one; rules between groups stay."""
    base, ec2 = stacks.find(context, "base"), context.client("ec2")
    if base is None:
        raise UsageError(f"there are no security groups yet; first run: {SETUP} create-bucket NAME")
    group = base.outputs["PrimaryGroup"]
    pages = ec2.get_paginator("describe_security_group_rules")
    found = pages.paginate(Filters=[{"Name": "group-id", "Values": [group]}]).build_full_result()["SecurityGroupRules"]
    rules = [rule for rule in found if not rule["IsEgress"] and not rule.get("ReferencedGroupInfo")]
    rules = [rule for rule in rules if rule["FromPort"] == -1 or rule["FromPort"] <= _SSH <= rule["ToPort"]]
    form = {"IpProtocol": "tcp", "FromPort": _SSH, "ToPort": _SSH}
    others = [rule["SecurityGroupRuleId"] for rule in rules if not (form | {"CidrIpv4": cidr}).items() <= rule.items()]
    if others:
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=others)
    if len(others) == len(rules):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[form | {"IpRanges": [{"CidrIp": cidr}]}])


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
    # YARN's proxy listens on the node's address only, which is what its public name means there.
    forwards = (f"{PORT}:localhost:{PORT}", f"{HISTORY}:localhost:18080", f"{LIVE}:{host}:20888")
    tunnel = [*ssh, "-N", *(part for forward in forwards for part in ("-L", forward)), node]
    return {"ask": [*ssh, "-t", node, _ASK], "set": [*ssh, node, _SET], "tunnel": tunnel}


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
    fetch_key(context)
    console = context.client("ec2").get_console_output(InstanceId=instance).get("Output", "")
    block = re.search(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", console, re.DOTALL)
    keys = re.findall(r"((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+)", block[1]) if block else []
    if keys:
        folders.write_bytes(context.home / KNOWN_HOSTS, "".join(f"{host} {key}\n" for key in keys).encode())
    return bool(keys)


def set_password(command: Sequence[str]) -> str:
    """Give the Hub's user a random password through a command's standard input, and return it."""
    password = secrets.token_urlsafe(12)
    text = f"{HUB_USER}:{password}\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise FruitsError(
            f"{strip_controls(done.stderr).strip()}\nno tunnel: no new password was set, and everybody knows the first "
            f"one ({command[0]} ended with {done.returncode}). If the host's key is another one, `terminate`; if your "
            "key was refused, move its file away. Repeat `connect`, or use --ssm, or --keep-password, which sets none."
        )
    return password


def keep_open(context: Context, command: Sequence[str], *, ssm: bool, cidr: str | None) -> NoReturn:
    """Run the tunnel's program, and again after each cut, until Ctrl-C or until tries cannot help."""
    latest = None
    while True:
        check_port()
        code, opened = _run(context, command)
        how, now = f"{command[0]} ended with {code}", time.monotonic()
        latest = now if opened else latest
        if latest is None or now - latest > LIMIT:
            raise FruitsError(f"no tunnel: {how}, why is above. If `status` says that the cluster is alive, repeat.")
        what = "The tunnel was cut" if opened else "Not open again yet"
        context.say(f"{time.strftime('%H:%M:%S')} {what}: {how}; trying again in {PAUSE:g} s. Ctrl-C ends it.")
        if not opened:
            _look_again(context, ssm=ssm, cidr=cidr)
        time.sleep(PAUSE)


def _run(context: Context, command: Sequence[str]) -> tuple[int, bool]:
    """Run the program once; return its exit code, and whether the port was open."""
    opened = False
    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None and not opened:
                time.sleep(0.1)
                if opened := is_taken():
                    context.say(f"Open: https://localhost:{PORT} (until you press Ctrl-C)")
            return process.wait(), opened
        finally:
            process.terminate()


def _look_again(context: Context, *, ssm: bool, cidr: str | None) -> None:
    """Let in the address of now; raise FruitsError if the cluster is over."""
    try:
        cluster.need_ready(context)
        if not ssm:
            let_in(context, find_cidr(cidr))
    except UsageError as error:
        raise FruitsError(f"the tunnel is over: {error}") from error
    except Exception as error:  # most likely the network is missing here, too
        context.say(f"AWS was not reached; the tries go on: {explain(error) or error}")


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
