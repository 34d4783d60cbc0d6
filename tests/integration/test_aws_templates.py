"""The templates themselves: what moto drops or ignores, and what nobody may do."""

import json
import re
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import template
from cloud import BUCKET, EMR
from emr.cli import IMAGE_POLICY_FILE, POLICY_FILE
from emr.cluster import VENV, build_parameters
from emr.context import SPARK_LOGS
from emr.settings import load_settings
from template import read_properties

from fruits import eventlog, session

pytestmark = pytest.mark.integration
TEMPLATES = sorted((EMR / "templates").glob("*.yaml"))
# What AWS's own schemas list for properties that the templates do not use.
_UNUSED = (
    *("s3:Put*", "s3:CreateBucketMetadata*", "s3:DeleteBucketTagging", "s3:UntagResource", "s3tables:*"),
    *(
        "kms:CreateGrant",
        "kms:RetireGrant",
        "vpc-lattice:*",
        "vpce:*",
        "ec2:ImportKeyPair",
        "ec2:*VpnGateway",
        "ec2:CreateVpcEncryptionControl",
    ),
)
# What no schema lists, or the patterns above would hide.
_MORE = {
    *("s3:PutBucketTagging", "s3:PutBucketPublicAccessBlock", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy"),
    *("s3:PutEncryptionConfiguration", "s3:PutBucketOwnershipControls", "iam:PassRole", "iam:CreateServiceLinkedRole"),
    *(f"elasticmapreduce:{name}" for name in ("RunJobFlow", "TerminateJobFlows", "AddTags", "DescribeCluster")),
}


def read_resources(which: str) -> dict[str, Any]:
    return dict(template.read_template(which)["Resources"])


def read_cluster(*overrides: str) -> dict[str, Any]:
    return template.read_cluster(load_settings(overrides), bucket=BUCKET)


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return read_cluster("task_count=2", "wheelhouse=true", "idle_minutes=45")


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_a_template_is_valid(file: Path) -> None:
    lint_all = pytest.importorskip("cfnlint.api", reason="make test-integration installs it").lint_all
    text = file.read_text()
    assert [str(match) for match in lint_all(text) if not match.rule.id.startswith("I")] == []
    assert len(text.encode()) < 51_200  # more has to be sent by S3
    assert not re.search(r"AKIA|ASIA|secret|\b\d{12}\b", text, re.IGNORECASE)


def test_the_bucket_is_private_encrypted_and_loses_logs_and_broken_uploads() -> None:
    bucket = read_resources("base")["Bucket"]
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    properties = bucket["Properties"]
    assert list(properties["PublicAccessBlockConfiguration"].values()) == [True] * 4
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    uploads, logs = properties["LifecycleConfiguration"]["Rules"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": {"Ref": "MultipartDays"}}
    assert (logs["Prefix"], logs["ExpirationInDays"]) == ("logs/", {"Ref": "LogDays"})
    (deny,) = read_resources("base")["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_nodes_reach_this_bucket_alone_and_change_neither_images_nor_models_nor_code() -> None:
    (policy,) = read_resources("base")["NodeRole"]["Properties"]["Policies"]
    statements = {entry["Sid"]: entry for entry in policy["PolicyDocument"]["Statement"]}
    for statement in statements.values():
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions)
        if actions[0].startswith("s3:"):
            assert all(re.match(r"arn:aws:s3:::\$\{BucketName\}(/|$)", place["Fn::Sub"]) for place in resources)
    denied = {place["Fn::Sub"].partition("/")[2] for place in statements["ReadOnly"]["Resource"]}
    assert (statements["ReadOnly"]["Effect"], denied) == ("Deny", {"data/raw/*", "data/models/*", "code/*"})


def test_nothing_but_a_person_opens_a_port_to_the_world() -> None:
    for name, resource in read_resources("base").items():
        if "SecurityGroup" in resource["Type"]:
            assert not {"CidrIp", "CidrIpv6", "SecurityGroupIngress"} & resource["Properties"].keys(), name


def test_what_emr_acts_on_has_the_tag_that_its_policy_asks_for(cluster: dict[str, Any]) -> None:
    resources = read_resources("base")
    tagged = [resources[name]["Properties"]["Tags"] for name in ("Vpc", "Subnet", "PrimaryGroup", "NodesGroup")]
    for tags in [*tagged, cluster["Tags"]]:
        assert {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"} in tags


def test_the_nodes_are_what_the_settings_say(cluster: dict[str, Any]) -> None:
    nodes = cluster["Instances"]
    groups = [nodes["MasterInstanceGroup"], nodes["CoreInstanceGroup"], *nodes["TaskInstanceGroups"]]
    found = [(str(group["InstanceCount"]), group["InstanceType"], group["Market"]) for group in groups]
    assert found == [("1", "m5.xlarge", "ON_DEMAND"), ("2", "m5.xlarge", "ON_DEMAND"), ("2", "m5.xlarge", "SPOT")]
    assert cluster["AutoTerminationPolicy"] == {"IdleTimeout": "2700"}
    (bootstrap,) = cluster["BootstrapActions"]
    code = f"s3://{BUCKET}/code/"
    assert bootstrap["ScriptBootstrapAction"]["Path"] == f"{code}bootstrap.sh"
    assert bootstrap["ScriptBootstrapAction"]["Args"] == [VENV, f"{code}requirements-worker.txt", f"{code}wheelhouse/"]
    plain = read_cluster()
    assert "TaskInstanceGroups" not in plain["Instances"]
    assert len(plain["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"]) == 2


def test_spark_livy_and_the_hub_are_told_what_they_need(cluster: dict[str, Any]) -> None:
    python, found = f"{VENV}/bin/python", cluster["Configurations"]
    for name in ("spark-env", "livy-env"):
        assert read_properties(found, name) == {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}
    spark = read_properties(found, "spark-defaults")
    assert {name for name, value in spark.items() if value == python} >= {"spark.pyspark.python"}
    assert spark["spark.executor.memory"] == spark["spark.executor.memoryOverhead"]
    assert (spark["spark.dynamicAllocation.maxExecutors"], spark["spark.default.parallelism"]) == ("4", "16")
    assert spark[session.CODE] == f"s3://{BUCKET}/code/fruits.zip"
    assert "EUR" in spark[session.HOUR]
    assert (spark[session.IDLE_MINUTES], spark[session.LIVY_MINUTES]) == ("45", "60")
    logs = f"s3://{BUCKET}/{SPARK_LOGS}"
    kept = {name: value for name, value in spark.items() if name.startswith("spark.eventLog.")}
    assert kept == eventlog.choose_settings(Path("/any")) | {"spark.eventLog.dir": logs}
    assert spark["spark.history.fs.logDirectory"] == logs
    assert read_properties(found, "livy-conf")["livy.server.session.timeout-check.skip-busy"] == "true"
    persistence = {"s3.persistence.enabled": "true", "s3.persistence.bucket": BUCKET}
    assert read_properties(found, "jupyter-s3-conf") == persistence
    magic = read_properties(found, "jupyter-sparkmagic-conf")
    assert (magic["use_auto_viz"], magic["all_errors_are_fatal"], magic["session_configs"]) == ("false", "true", "{}")


def test_a_packed_environment_takes_the_place_of_the_installation() -> None:
    archive, packed = f"s3://{BUCKET}/code/environment.tar.gz", read_cluster("packed=true")
    assert packed["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"] == [VENV, archive]
    spark, plain = (read_properties(made["Configurations"], "spark-defaults") for made in (packed, read_cluster()))
    changed = {name: value for name, value in spark.items() if plain.get(name) != value}
    workers = {"spark.executorEnv.PYSPARK_PYTHON": "./environment/bin/python"}
    assert changed == workers | {"spark.yarn.dist.archives": f"{archive}#environment"}
    assert "spark.yarn.dist.archives" not in plain


def test_the_disks_are_encrypted_and_credentials_need_imdsv2() -> None:
    resources = read_resources("cluster")
    security = resources["Security"]["Properties"]["SecurityConfiguration"]
    assert security["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"] == 2
    disks = security["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]["LocalDiskEncryptionConfiguration"]
    assert (disks["EnableEbsEncryption"], disks["EncryptionKeyProviderType"]) == (True, "AwsKms")


def test_every_parameter_has_a_value_and_every_value_a_parameter() -> None:
    declared = template.read_template("cluster")["Parameters"]
    assert all({"MinValue", "MaxValue"} <= declared[key].keys() for key in ("RootGb", "DataGb", "IdleSeconds"))
    assert declared.keys() == build_parameters(load_settings(), bucket=BUCKET, now=datetime.now(UTC)).keys()


def read_permissions() -> dict[str, set[str]]:
    """Read which permissions each type of resource needs: CloudFormation acts as the person who asks it."""
    schemas = Path(pytest.importorskip("cfnlint").__file__).parent / "data/schemas/resources"
    found = {}
    for schema in (json.loads(file.read_text()) for file in schemas.glob("*.json")):
        parts = [*(schema.get("handlers", {}).get(step, {}) for step in ("create", "read", "delete"))]
        parts.append(schema.get("tagging", {}))
        found[schema["typeName"]] = {action for part in parts for action in part.get("permissions", [])}
    return found


@pytest.mark.parametrize("with_image", [False, True])
def test_the_policies_let_cloudformation_make_and_remove_the_stacks(with_image: bool) -> None:
    permissions = read_permissions()
    stacks = [file.stem for file in TEMPLATES if with_image or file.stem != "image"]
    types = {resource["Type"] for stack in stacks for resource in read_resources(stack).values()}
    needed = {action for name in types for action in permissions[name]}
    needed = {action for action in needed if not any(fnmatch(action, pattern) for pattern in _UNUSED)} | _MORE
    policies = [json.loads(file.read_text()) for file in [POLICY_FILE, *([IMAGE_POLICY_FILE] if with_image else [])]]
    allowed = [action for policy in policies for entry in policy["Statement"] for action in entry["Action"]]
    assert sorted(action for action in needed if not any(fnmatch(action, pattern) for pattern in allowed)) == []


def test_codebuild_reaches_one_repository_and_reads_one_kind_of_object() -> None:
    (policy,) = read_resources("image")["BuildRole"]["Properties"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions)
        assert (statement["Resource"] == "*") == (actions == ["ecr:GetAuthorizationToken"])
