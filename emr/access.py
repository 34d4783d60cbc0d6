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
    """Check that the address that was given is one of IPv4, or ask AWS which one this machine has."""
    address = given
    try:
        if address is None:
            with urllib.request.urlopen(ADDRESS_URL, timeout=10) as answer:  # noqa: S310 - a constant
                address = answer.read(64).decode().strip()
        return f"{ipaddress.IPv4Address(address.removesuffix('/32'))}/32"
    except (OSError, ValueError) as error:
        kind, what = (FruitsError, ADDRESS_URL) if given is None else (UsageError, f"--cidr {given}")
        advice = "allowed is one IPv4 address, such as --cidr 203.0.113.7/32; for any other, use `connect --ssm`."
        raise kind(f"{what}: {error}; {advice}") from error


def let_in(context: Context, cidr: str) -> None:
    """Open SSH of the primary node to one address, and close it to every other one; rules between groups stay."""
    group = stacks.find_resource(context, "base", "PrimaryGroup")
    if group is None:
        raise UsageError(f"there are no security groups yet; first run: {SETUP} create-bucket NAME")
    ec2, filters = context.client("ec2"), [{"Name": "group-id", "Values": [group]}]
    pages = ec2.get_paginator("describe_security_group_rules").paginate(Filters=filters)
    found = [rule for page in pages for rule in page["SecurityGroupRules"] if not rule["IsEgress"]]
    rules = [rule for rule in found if rule["FromPort"] == -1 or rule["FromPort"] <= _SSH <= rule["ToPort"]]
    form = {"CidrIpv4": cidr, "IpProtocol": "tcp", "FromPort": _SSH, "ToPort": _SSH}
    wanted = [rule for rule in rules if form.items() <= rule.items()]
    others = [rule for rule in rules if rule not in wanted and not rule.get("ReferencedGroupInfo")]
    if others:
        ids = [rule["SecurityGroupRuleId"] for rule in others]
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids)
    if not wanted:
        permission = {"IpProtocol": "tcp", "FromPort": _SSH, "ToPort": _SSH, "IpRanges": [{"CidrIp": cidr}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
