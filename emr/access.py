"""What opens the primary node: the private key of the stack's key pair, and one address that SSH is open to."""

import ipaddress
import os
import urllib.request
from typing import Any

from emr import stacks
from emr.context import SETUP, Context
from fruits.errors import FruitsError, UsageError

ADDRESS_URL = "https://checkip.amazonaws.com"
_SSH = 22


def fetch_key(context: Context) -> None:
    """Fetch the private key from Parameter Store into a file of mode 400; check the mode of one that is there.

    Raises
    ------
    UsageError
        If others can read the file, which ssh refuses too.
    """
    file = context.key_file
    if file.exists():
        if (mode := file.stat().st_mode & 0o777) & 0o077:
            raise UsageError(f"{file} has mode {mode:o}, others can read it; run: chmod 400 {file}")
        return
    pairs = context.client("ec2").describe_key_pairs(KeyNames=[f"{context.settings.name}-key"])["KeyPairs"]
    name = f"/ec2/keypair/{pairs[0]['KeyPairId']}"
    key = context.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    # The file is made with its final mode: there is no moment in which others can read it.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
        stream.write(key)
    context.say(f"Key:         {file} (mode 400), from Parameter Store")


def find_address() -> str:
    """Ask AWS which address this machine is seen under.

    Raises
    ------
    FruitsError
        If there is no answer; the address can be given instead.
    """
    try:
        with urllib.request.urlopen(ADDRESS_URL, timeout=10) as answer:  # noqa: S310 - a constant
            return f"{answer.read(64).decode('ascii').strip()}/32"
    except (OSError, ValueError) as error:
        raise FruitsError(f"{ADDRESS_URL} did not answer ({error}); give it: --cidr 203.0.113.7/32") from error


def check_cidr(cidr: str) -> str:
    """Refuse everything but one IPv4 address.

    Raises
    ------
    UsageError
        Saying what is allowed.
    """
    try:
        return f"{ipaddress.IPv4Address(cidr.removesuffix('/32'))}/32"
    except ValueError as error:
        raise UsageError(
            f"--cidr {cidr}: allowed is one IPv4 address, such as 203.0.113.7/32. For IPv6 or "
            "an address that changes, use `connect --ssm`, which opens nothing."
        ) from error


def let_in(context: Context, *, cidr: str | None) -> None:
    """Open SSH of the primary node to one address (None: that of now), and close it to every other one.

    Raises
    ------
    UsageError
        If there is no base stack, or the address is not one.
    """
    cidr = check_cidr(cidr or find_address())
    base = stacks.find(context, "base")
    if base is None:
        raise UsageError(f"there are no security groups yet; first run: {SETUP} create-bucket NAME")
    group, ec2 = base.outputs["PrimaryGroup"], context.client("ec2")
    filters = [{"Name": "group-id", "Values": [group]}]
    pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters)
    rules = [rule for page in pages for rule in page["SecurityGroupRules"] if _opens_ssh(rule)]
    wanted = [rule for rule in rules if rule.get("CidrIpv4") == cidr and rule["FromPort"] == rule["ToPort"] == _SSH]
    if others := [rule["SecurityGroupRuleId"] for rule in rules if rule not in wanted]:
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=others)
    if not wanted:
        address = {"CidrIp": cidr, "Description": "SSH for the person who runs the cluster"}
        permission = {"IpProtocol": "tcp", "FromPort": _SSH, "ToPort": _SSH, "IpRanges": [address]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])


def _opens_ssh(rule: dict[str, Any]) -> bool:
    """Tell whether a rule lets addresses reach port 22; rules between groups do not count."""
    if rule["IsEgress"] or rule.get("ReferencedGroupInfo"):
        return False
    covers = rule["FromPort"] <= _SSH <= rule["ToPort"] or rule["FromPort"] == -1
    return rule["IpProtocol"] == "-1" or (rule["IpProtocol"] in ("tcp", "6") and covers)
