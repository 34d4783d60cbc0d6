"""Who may do what: the service role of EMR, and the role of the nodes, which reaches this bucket and nothing else."""

import json
from collections.abc import Mapping
from typing import Any

from emr.bucket import CODE, RAW
from emr.request import Request, tag_list
from emr.settings import Settings

# AWS's policy for the service acts only on what bears this tag: cluster, subnet and security groups.
EMR_TAG = {"for-use-with-amazon-emr-managed-policies": "true"}
SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
_THERE = ("EntityAlreadyExists",)


def service_role(settings: Settings) -> str:
    """Return the name of the role that EMR itself acts by."""
    return f"{settings.name}-emr-service"


def node_role(settings: Settings) -> str:
    """Return the name of the role of the nodes, and of their instance profile."""
    return f"{settings.name}-emr-node"


def trust(service: str) -> dict[str, Any]:
    """Build the policy that lets a service take a role."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def pass_policy(settings: Settings) -> dict[str, Any]:
    """Let EMR hand the nodes their role: AWS's own policy allows that for EMR_EC2_DefaultRole only."""
    statement = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": f"arn:aws:iam::*:role/{node_role(settings)}",
        "Condition": {"StringLike": {"iam:PassedToService": "ec2.amazonaws.com*"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def node_policy(bucket: str) -> dict[str, Any]:
    """Let the nodes read this bucket and write what they make; images and code they can only read."""
    arn = f"arn:aws:s3:::{bucket}"
    listing = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    writing = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    # The least that AWS Systems Manager needs for a session (`connect --ssm`).
    session = [
        "ssm:UpdateInstanceInformation",
        *(f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")),
    ]
    places = [f"{arn}/{prefix}*" for prefix in ("data/", "reports/", "logs/", "jupyter/")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "List", "Effect": "Allow", "Action": listing, "Resource": arn},
            {"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{arn}/*"},
            {"Sid": "Write", "Effect": "Allow", "Action": writing, "Resource": places},
            {
                "Sid": "ReadOnly",
                "Effect": "Deny",
                "Action": ["s3:PutObject", "s3:DeleteObject"],
                "Resource": [f"{arn}/{RAW}*", f"{arn}/{CODE}*"],
            },
            {"Sid": "Session", "Effect": "Allow", "Action": session, "Resource": "*"},
        ],
    }


def role_requests(settings: Settings, *, bucket: str) -> list[Request]:
    """Build what makes both roles and the instance profile; each may be repeated."""
    service, node = service_role(settings), node_role(settings)
    profile = {"InstanceProfileName": node}
    return [
        _create_role(service, trust("elasticmapreduce.amazonaws.com"), settings.tags),
        Request("iam", "attach_role_policy", {"RoleName": service, "PolicyArn": SERVICE_POLICY}),
        _put_policy(service, "pass-node-role", pass_policy(settings)),
        _create_role(node, trust("ec2.amazonaws.com"), settings.tags),
        _put_policy(node, "bucket", node_policy(bucket)),
        Request("iam", "create_instance_profile", profile | {"Tags": tag_list(settings.tags)}, fine=_THERE),
        # A profile holds one role; a second time IAM says that the limit is reached.
        Request("iam", "add_role_to_instance_profile", profile | {"RoleName": node}, fine=("LimitExceeded",)),
    ]


def delete_requests(settings: Settings) -> list[Request]:
    """Build what removes them, in the order that IAM wants."""
    service, node = service_role(settings), node_role(settings)
    gone = ("NoSuchEntity",)
    profile = {"InstanceProfileName": node}
    steps: list[tuple[str, dict[str, str]]] = [
        ("remove_role_from_instance_profile", profile | {"RoleName": node}),
        ("delete_instance_profile", profile),
        ("delete_role_policy", {"RoleName": node, "PolicyName": "bucket"}),
        ("delete_role", {"RoleName": node}),
        ("delete_role_policy", {"RoleName": service, "PolicyName": "pass-node-role"}),
        ("detach_role_policy", {"RoleName": service, "PolicyArn": SERVICE_POLICY}),
        ("delete_role", {"RoleName": service}),
    ]
    return [Request("iam", operation, arguments, fine=gone) for operation, arguments in steps]


def security_configuration(settings: Settings) -> str:
    """Return the name of the EMR security configuration: it cannot be changed, so its name says what it holds."""
    return f"{settings.name}-imdsv2-hop{settings.imds_hop_limit}"


def security_request(settings: Settings) -> Request:
    """Build the security configuration: credentials of the nodes by IMDSv2 alone."""
    metadata = {
        "MinimumInstanceMetadataServiceVersion": 2,
        "HttpPutResponseHopLimit": settings.imds_hop_limit,
    }
    return Request(
        "emr",
        "create_security_configuration",
        {
            "Name": security_configuration(settings),
            "SecurityConfiguration": json.dumps({"InstanceMetadataServiceConfiguration": metadata}),
        },
    )


def _create_role(name: str, policy: Mapping[str, Any], tags: Mapping[str, str]) -> Request:
    arguments = {"RoleName": name, "AssumeRolePolicyDocument": json.dumps(policy), "Tags": tag_list(tags)}
    return Request("iam", "create_role", arguments, fine=_THERE)


def _put_policy(role: str, name: str, policy: Mapping[str, Any]) -> Request:
    arguments = {"RoleName": role, "PolicyName": name, "PolicyDocument": json.dumps(policy)}
    return Request("iam", "put_role_policy", arguments)
