"""The tunnel over cuts, the new password, the address and the key: programs of our own stand in for ssh and AWS."""

import dataclasses
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.stub import Stubber
from emr import cluster, stacks, tunnel
from emr.context import Context
from emr.settings import load_settings

from fruits.errors import FruitsError, UsageError

# Takes one instruction from a file, "PORT|- CODE", in each run: listens on PORT for a moment, and ends so.
PROGRAM = """
import os, pathlib, socket, sys, time
file = pathlib.Path(sys.argv[1])
(port, code), *rest = [line.split() for line in file.read_text().splitlines()]
file.write_text("".join(" ".join(line) + chr(10) for line in rest))
if port != "-":
    server = socket.create_server(("127.0.0.1", int(port)))
    time.sleep(0.3)
if int(code) < 0:
    os.kill(os.getpid(), -int(code))
sys.exit(int(code))
"""
# Writes its standard input and its arguments to a file, and fails if it is given words for that.
FAR = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read() + str(sys.argv)); sys.exit(sys.argv[2] or 0)"
MINE = "203.0.113.7/32"
SESSION = boto3.Session("any key", "any secret", region_name="eu-west-1")
ALL = {"IpProtocol": "-1", "FromPort": -1, "ToPort": -1}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Context:
    """Give a context whose clients answer what a test tells them to, and a port that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        monkeypatch.setattr(tunnel, "PORT", int(found.getsockname()[1]))
    monkeypatch.setattr(tunnel, "PAUSE", 0.01)
    monkeypatch.setattr(tunnel, "let_in", lambda _, cidr: said.append(cidr))
    clients = {(name, "eu-west-1", False): SESSION.client(name) for name in ("ec2", "ssm")}
    return Context(settings=load_settings(), home=tmp_path, say=said.append, ask=said.append, _clients=clients)


def answer(context: Context, service: str, operation: str, response: dict[str, Any], **wanted: Any) -> Stubber:
    stubber = Stubber(context.client(service))
    stubber.add_response(operation, response, wanted)
    stubber.activate()
    return stubber


def keep_open(context: Context, *runs: str) -> str:
    """Keep a tunnel open by programs that end so, one after the other; return the error that ended it."""
    file = context.home / "runs"
    file.write_text("\n".join(runs).replace("PORT", str(tunnel.PORT)))
    with pytest.raises(FruitsError) as ended:
        tunnel.keep_open(context, [sys.executable, "-c", PROGRAM, str(file)], ssm=False, cidr=None)
    return str(ended.value)


def test_a_cut_is_told_and_the_tunnel_opened_again_until_it_is_over(
    context: Context, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_look_again", Mock(side_effect=[None, FruitsError("the tunnel is over")]))
    assert keep_open(context, "PORT 255", "- 255", "PORT -15", "- 1") == "the tunnel is over"
    opened = f"Open: https://localhost:{tunnel.PORT} (until you press Ctrl-C)"
    assert [line if line == opened else line.split(" ", 1)[1][:19] for line in said] == [
        *(opened, "The tunnel was cut:", "Not open again yet:"),
        *(opened, "The tunnel was cut:", "Not open again yet:"),
    ]
    assert re.match("no tunnel: .* ended with 0, why is above", keep_open(context, "- 0"))
    monkeypatch.setattr(tunnel, "LIMIT", 0.1)
    monkeypatch.setattr(tunnel, "_look_again", Mock())
    assert keep_open(context, "PORT 255", *["- 255"] * 9).startswith("no tunnel: ")


@pytest.mark.parametrize("ending", ["", "\x1b]0;title\x07no such container"])
def test_the_tunnel_opens_if_the_password_is_set(
    context: Context, said: list[str], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    command = [sys.executable, "-c", FAR, str(context.home / "far"), ending]
    commands = {"set": command, "tunnel": [sys.executable], "ask": ["ask"]}
    fixed = {"find_primary": ("ec2-1", "i-1"), "_prepare_ssh": True, "ssh_commands": commands, "keep_open": 0}
    for name, value in fixed.items():
        monkeypatch.setattr(tunnel, name, lambda *_, value=value, **__: value)
    assert tunnel.connect(context, ssm=False, cidr=MINE, show=False, keep_password=True) == 0
    assert not (context.home / "far").exists()
    if ending:
        with pytest.raises(FruitsError, match=r"(?s)^no such container.*no new password was set.*--keep-password"):
            tunnel.connect(context, ssm=False, cidr=MINE, show=False, keep_password=False)
        return
    tunnel.connect(context, ssm=False, cidr=MINE, show=False, keep_password=False)
    (told,) = (line.split()[-1] for line in said if "new password" in line)
    assert len(told) >= 16
    # Through standard input, and not as an argument.
    assert (context.home / "far").read_text() == f"jovyan:{told}\n['-c', '{context.home / 'far'}', '']"


@pytest.mark.parametrize(
    ("ssm", "words"),
    [(True, ["passwd jovyan", "portNumber"]), (False, ["passwd jovyan", "chpasswd", ":localhost:"])],
)
def test_a_dry_run_tells_the_commands(context: Context, ssm: bool, words: list[str]) -> None:
    dry = dataclasses.replace(context, dry_run=True)
    plan = tunnel.connect(dry, ssm=ssm, cidr=None, show=False, keep_password=False)
    assert isinstance(plan, dict)
    assert all(word in line for word, line in zip(words, plan["commands"], strict=True))
    assert ssm or "-oServerAliveInterval=15 -oServerAliveCountMax=3" in plan["commands"][-1]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, MINE),
        (FruitsError("no network"), "AWS was not reached; the tries go on: no network"),
        (UsageError("it is TERMINATED"), "the tunnel is over: it is TERMINATED"),
    ],
)
def test_after_a_cut_the_address_of_now_is_let_in(
    context: Context, said: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception | None, told: str
) -> None:
    monkeypatch.setattr(cluster, "need_ready", Mock(side_effect=error))
    try:
        tunnel._look_again(context, ssm=False, cidr=MINE)
    except FruitsError as raised:
        said.append(str(raised))
    assert said == [told]


@pytest.mark.parametrize(
    ("rule", "stays"),
    [
        ({"CidrIpv4": MINE}, True),
        ({"CidrIpv4": MINE, "FromPort": 0, "ToPort": 65535}, False),
        ({"CidrIpv4": MINE, "IpProtocol": "udp"}, False),
        ({"CidrIpv4": "198.51.100.1/32"}, False),
        ({"CidrIpv6": "::/0"}, False),
        ({"PrefixListId": "pl-1"}, False),
        ({"CidrIpv4": "0.0.0.0/0", **ALL}, False),
        ({"CidrIpv4": "52.0.0.0/8", "FromPort": 8443, "ToPort": 8443}, True),
        ({"ReferencedGroupInfo": {"GroupId": "sg-2"}, **ALL}, True),
        ({"CidrIpv4": "0.0.0.0/0", "IsEgress": True, **ALL}, True),
    ],
)
def test_ssh_is_open_to_one_address_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any], stays: bool
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(stacks, "find", lambda *_: SimpleNamespace(outputs={"PrimaryGroup": "sg-1"}))
    form = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    found = {"SecurityGroupRules": [{"SecurityGroupRuleId": "sgr-1", "IsEgress": False, **form, **rule}]}
    wanted = {"Filters": [{"Name": "group-id", "Values": ["sg-1"]}]}
    stub = answer(context, "ec2", "describe_security_group_rules", found, **wanted)
    if not stays:
        stub.add_response("revoke_security_group_ingress", {}, {"GroupId": "sg-1", "SecurityGroupRuleIds": ["sgr-1"]})
    if rule != {"CidrIpv4": MINE}:
        permission = {**form, "IpRanges": [{"CidrIp": MINE}]}
        stub.add_response("authorize_security_group_ingress", {}, {"GroupId": "sg-1", "IpPermissions": [permission]})
    tunnel.let_in(context, MINE)
    stub.assert_no_pending_responses()


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "203.0.113.7/31", "2001:db8::1/128", "me"])
def test_other_than_one_address_is_refused(cidr: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--cidr {cidr}: ") + ".*allowed is one IPv4 address"):
        tunnel.find_cidr(cidr)
    assert tunnel.find_cidr(MINE) == tunnel.find_cidr("203.0.113.7") == MINE


def test_the_key_is_fetched_once_and_is_for_its_owner_alone(context: Context) -> None:
    answer(context, "ec2", "describe_key_pairs", {"KeyPairs": [{"KeyPairId": "key-1"}]}, KeyNames=["fruits-key"])
    secret = {"Parameter": {"Value": "the key"}}
    answer(context, "ssm", "get_parameter", secret, Name="/ec2/keypair/key-1", WithDecryption=True)
    for _ in range(2):
        tunnel.fetch_key(context)
    assert context.key_file.read_text() == "the key"
    assert context.key_file.stat().st_mode & 0o777 == 0o400
