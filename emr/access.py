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


def fetch_key(context: Context) -> dict[str, Any] | None:
    """Fetch the private key into a file of mode 400; refuse one that is there and that others can read."""
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
    elif (mode := file.stat().st_mode & 0o777) & 0o077:
        raise UsageError(f"{file} has mode {mode:o}, others can read it; run: chmod 400 {file}")
    return None


def find_cidr(given: str | None) -> str:
    """Check the address that was given, or ask AWS under which one this machine is seen; allowed is one of IPv4.

    Raises
    ------
    FruitsError
        If there is none.
    """
    try:
        if given is None:
            with urllib.request.urlopen(ADDRESS_URL, timeout=10) as answer:  # noqa: S310 - a constant
                return f"{ipaddress.IPv4Address(answer.read(64).decode().strip())}/32"
        return f"{ipaddress.IPv4Address(given.removesuffix('/32'))}/32"
    except (OSError, ValueError) as error:
        kind, what = (FruitsError, ADDRESS_URL) if given is None else (UsageError, f"--cidr {given}")
        raise kind(
            f"{what}: {error}; allowed is one IPv4 address, such as --cidr 203.0.113.7/32. For IPv6, or one that "
            "changes, use `connect --ssm`, which opens nothing."
        ) from error


def let_in(context: Context, cidr: str) -> None:
    """Open SSH of the primary node to one address, and close it to every other one."""
    group = stacks.find_resource(context, "base", "PrimaryGroup")
    if group is None:
        raise UsageError(f"there are no security groups yet; first run: {SETUP} create-bucket NAME")
    ec2, filters = context.client("ec2"), [{"Name": "group-id", "Values": [group]}]
    pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters)
    rules = [rule for page in pages for rule in page["SecurityGroupRules"] if _opens_ssh(rule)]
    wanted = [rule for rule in rules if rule.get("CidrIpv4") == cidr and rule["FromPort"] == rule["ToPort"] == _SSH]
    if others := [rule["SecurityGroupRuleId"] for rule in rules if rule not in wanted]:
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=others)
    if not wanted:
        permission = {"IpProtocol": "tcp", "FromPort": _SSH, "ToPort": _SSH, "IpRanges": [{"CidrIp": cidr}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])


def _opens_ssh(rule: dict[str, Any]) -> bool:
    """Tell whether a rule lets addresses reach port 22; rules between groups do not count."""
    if rule["IsEgress"] or rule.get("ReferencedGroupInfo") or rule["IpProtocol"] not in ("tcp", "6", "-1"):
        return False
    return bool(rule["FromPort"] == -1 or rule["FromPort"] <= _SSH <= rule["ToPort"])
