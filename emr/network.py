"""Where the cluster lives: a subnet, two security groups, and SSH from the caller's address alone."""

import ipaddress
import urllib.request
from typing import Any

from emr.context import Context
from emr.request import Request, read_tags, tag_list
from emr.roles import EMR_TAG
from emr.settings import Settings
from fruits.errors import FruitsError, UsageError

ADDRESS_URL = "https://checkip.amazonaws.com"
ROLES = ("primary", "nodes")
_SSH = 22


def group_name(settings: Settings, role: str) -> str:
    """Return the name of a security group: of the primary node, or of the others."""
    return f"{settings.name}-emr-{role}"


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
        raise FruitsError(
            f"{ADDRESS_URL} did not say which address this machine has ({error}); give it: --cidr 203.0.113.7/32"
        ) from error


def check_cidr(cidr: str) -> str:
    """Refuse everything but one public IPv4 address.

    Raises
    ------
    UsageError
        Saying what is allowed.
    """
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise UsageError(f"--cidr {cidr}: {error}; allowed: your own address, such as 203.0.113.7/32") from error
    if network.version != 4 or network.prefixlen != 32:
        raise UsageError(
            f"--cidr {cidr} is {network.num_addresses:,} addresses; SSH is opened to one alone: allowed: your own IPv4 "
            "address with /32. For IPv6 or a changing address use `connect --ssm`, which opens nothing."
        )
    return str(network)


def group_requests(settings: Settings, *, vpc: str) -> dict[str, Request]:
    """Build what makes the two groups. EMR itself adds the rules between them."""
    requests = {}
    for role in ROLES:
        tags = settings.tags | EMR_TAG | {"Name": group_name(settings, role)}
        arguments = {
            "GroupName": group_name(settings, role),
            "Description": f"{settings.name}: EMR {role}",
            "VpcId": vpc,
            "TagSpecifications": [{"ResourceType": "security-group", "Tags": tag_list(tags)}],
        }
        requests[role] = Request("ec2", "create_security_group", arguments)
    return requests


def ssh_request(group: str, cidr: str, *, operation: str = "authorize_security_group_ingress") -> Request:
    """Build the rule that lets one address in by SSH; or, with `revoke_...`, take it away."""
    rule = {
        "IpProtocol": "tcp",
        "FromPort": _SSH,
        "ToPort": _SSH,
        "IpRanges": [{"CidrIp": cidr, "Description": "SSH from the one who made the cluster"}],
    }
    fine = ("InvalidPermission.Duplicate", "InvalidPermission.NotFound")
    return Request("ec2", operation, {"GroupId": group, "IpPermissions": [rule]}, fine=fine)


def subnet_tag_request(settings: Settings, subnet: str) -> Request:
    """Build the tag without which EMR's service role may not use the subnet; ours says that we put it there."""
    return Request("ec2", "create_tags", {"Resources": [subnet], "Tags": tag_list(EMR_TAG | settings.tags)})


def ensure_subnet(context: Context) -> tuple[str, str]:
    """Choose the subnet, tag it for EMR if it is not, and return it with its VPC.

    Raises
    ------
    UsageError
        If the region has no default subnet and none is set.
    """
    settings, account = context.settings, context.account
    wish: dict[str, Any] = (
        {"SubnetIds": [settings.subnet]} if settings.subnet else {"Filters": _filter("default-for-az", "true")}
    )
    found = account.read(Request("ec2", "describe_subnets", wish), planned=None) or {}
    subnets = sorted(found.get("Subnets", []), key=lambda subnet: str(subnet["AvailabilityZone"]))
    if account.dry_run:
        subnets = [{"SubnetId": settings.subnet or "<default subnet>", "VpcId": "<its VPC>"}]
    if not subnets:
        raise UsageError(f"{settings.region} has no default subnet; set subnet: subnet-... in emr/cluster.yaml.")
    subnet = subnets[0]
    if not read_tags(subnet.get("Tags")).items() >= EMR_TAG.items():
        account.send(subnet_tag_request(settings, subnet["SubnetId"]))
    return subnet["SubnetId"], subnet["VpcId"]


def ensure_groups(context: Context, *, vpc: str, cidr: str) -> dict[str, str]:
    """Make the groups that are missing, let in this address and no other, and return their ids."""
    groups = {}
    for role, request in group_requests(context.settings, vpc=vpc).items():
        found = find_group(context, role, vpc=vpc)
        answer = found or context.account.send(request, planned={"GroupId": f"<{group_name(context.settings, role)}>"})
        groups[role] = answer["GroupId"]
    allow_address(context, groups["primary"], cidr=cidr)
    return groups


def allow_address(context: Context, group: str, *, cidr: str) -> None:
    """Open SSH to one address and close it to those let in earlier."""
    found = context.account.read(Request("ec2", "describe_security_groups", {"GroupIds": [group]}), planned=None) or {}
    rules = [rule for group in found.get("SecurityGroups", []) for rule in group.get("IpPermissions", [])]
    earlier = {entry["CidrIp"] for rule in rules if rule.get("FromPort") == _SSH for entry in rule.get("IpRanges", [])}
    for other in sorted(earlier - {cidr}):
        context.account.send(ssh_request(group, other, operation="revoke_security_group_ingress"))
    if cidr not in earlier:
        context.account.send(ssh_request(group, cidr))


def find_group(context: Context, role: str, *, vpc: str | None = None) -> dict[str, Any] | None:
    """Look for one of our groups, by name and by tag."""
    filters = _filter("group-name", group_name(context.settings, role))
    filters += [entry for key, value in context.settings.tags.items() for entry in _filter(f"tag:{key}", value)]
    filters += _filter("vpc-id", vpc) if vpc else []
    found = context.account.read(Request("ec2", "describe_security_groups", {"Filters": filters})) or {}
    return next(iter(found.get("SecurityGroups", [])), None)


def _filter(name: str, value: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]}]
