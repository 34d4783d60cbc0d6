"""The requests themselves, as AWS will get them: the double (moto) drops or ignores some of these parts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from emr import bucket, cluster, configurations, keypair, network, roles, steps
from emr.settings import load_settings

from fruits.errors import UsageError
from fruits.params import list_modes, repository

SETTINGS = load_settings()
GROUPS = {"primary": "sg-1", "nodes": "sg-2"}


def run_job_flow(*overrides: str) -> dict[str, Any]:
    settings = load_settings(overrides)
    request = cluster.run_request(settings, bucket="mine", subnet="subnet-1", groups=GROUPS, key="fruits-key")
    assert (request.service, request.operation) == ("emr", "run_job_flow")
    return dict(request.arguments)


def classification(name: str, *overrides: str) -> dict[str, Any]:
    found = [entry for entry in run_job_flow(*overrides)["Configurations"] if entry["Classification"] == name]
    assert len(found) == 1
    return dict(found[0])


def test_the_cluster_ends_itself() -> None:
    """The double accepts the policy and drops it, so the request is what can be tested."""
    assert run_job_flow()["AutoTerminationPolicy"] == {"IdleTimeout": 1800}
    assert run_job_flow("idle_minutes=5")["AutoTerminationPolicy"] == {"IdleTimeout": 300}


def test_the_cluster_has_the_applications_and_logs() -> None:
    request = run_job_flow()
    names = [entry["Name"] for entry in request["Applications"]]
    assert names == ["Hadoop", "Spark", "Livy", "JupyterHub", "JupyterEnterpriseGateway"]
    assert (request["ReleaseLabel"], request["LogUri"]) == ("emr-7.5.0", "s3://mine/logs/")
    assert {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"} in request["Tags"]
    assert {"Key": "project", "Value": "fruits"} in request["Tags"]


def test_nodes_are_one_primary_and_two_core_and_none_on_spot() -> None:
    groups = run_job_flow()["Instances"]["InstanceGroups"]
    assert [(g["InstanceRole"], g["InstanceCount"], g["InstanceType"], g["Market"]) for g in groups] == [
        ("MASTER", 1, "m5.xlarge", "ON_DEMAND"),
        ("CORE", 2, "m5.xlarge", "ON_DEMAND"),
    ]
    spot = run_job_flow("task_count=2", "task_type=c6i.xlarge")["Instances"]["InstanceGroups"][-1]
    assert (spot["InstanceRole"], spot["InstanceCount"], spot["Market"]) == ("TASK", 2, "SPOT")
    assert "BidPrice" not in spot  # the on-demand price is then the most it can cost
    assert all(g["EbsConfiguration"]["EbsBlockDeviceConfigs"][0]["VolumesPerInstance"] == 1 for g in groups)
    request = cluster.run_request(SETTINGS, bucket="mine", subnet="subnet-1", groups=GROUPS, key=None)
    assert "Ec2KeyName" not in request.arguments["Instances"]


def test_spark_and_livy_use_the_python_of_the_bootstrap() -> None:
    venv = run_job_flow()["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"][0]
    python = f"{venv}/bin/python"
    spark = classification("spark-defaults")["Properties"]
    for key in ("spark.pyspark.python", "spark.yarn.appMasterEnv.PYSPARK_PYTHON", "spark.executorEnv.PYSPARK_PYTHON"):
        assert spark[key] == python
    for name in ("spark-env", "livy-env"):
        assert classification(name)["Configurations"] == [
            {"Classification": "export", "Properties": {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}}
        ]


def test_executors_fill_the_nodes_and_no_more() -> None:
    for kind, memory, vcpus in (("m5.xlarge", 16, 4), ("c6i.xlarge", 8, 4), ("m5.2xlarge", 32, 8)):
        spark = configurations.spark_settings(load_settings([f"core_type={kind}"]))
        heap, overhead = (int(spark[f"spark.executor.{part}"][:-1]) for part in ("memory", "memoryOverhead"))
        assert heap + overhead + 1024 <= memory * 1024 * 3 // 4
        assert overhead >= vcpus * 512  # a worker takes up to 200 MB, and Arrow batches
        assert spark["spark.executor.cores"] == str(vcpus)
        assert spark["spark.default.parallelism"] == str(2 * vcpus)
    assert configurations.spark_settings(load_settings(["task_count=1"]))["spark.default.parallelism"] == "12"


def test_livy_jupyterhub_and_sparkmagic_are_set_up_in_texts_as_emr_wants_them() -> None:
    livy = classification("livy-conf", "livy_minutes=90")["Properties"]
    assert livy["livy.server.session.timeout"] == "90m"
    assert livy["livy.server.session.timeout-check.skip-busy"] == "true"  # busy sessions live
    # `persistance`, as some have spelt it, is ignored in silence.
    bucket_of_notebooks = {"s3.persistence.enabled": "true", "s3.persistence.bucket": "mine"}
    assert classification("jupyter-s3-conf")["Properties"] == bucket_of_notebooks
    sparkmagic = classification("jupyter-sparkmagic-conf")["Properties"]
    assert sparkmagic["all_errors_are_fatal"] == "true"  # a Spark error fails a notebook
    assert sparkmagic["use_auto_viz"] == "false"
    assert json.loads(Path(configurations.SPARKMAGIC).read_text())["cleanup_all_sessions_on_exit"] is True
    for entry in run_job_flow()["Configurations"]:
        for part in (entry, *entry["Configurations"]):
            assert all(isinstance(value, str) for value in part["Properties"].values())


def test_the_wheelhouse_is_used_if_it_is_set() -> None:
    arguments = run_job_flow("wheelhouse=true")["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"]
    assert arguments[1:] == ["s3://mine/code/requirements-worker.txt", "s3://mine/code/wheelhouse/"]
    assert len(run_job_flow()["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"]) == 2


def test_credentials_of_the_nodes_need_imdsv2() -> None:
    request = roles.security_request(load_settings(["imds_hop_limit=1"]))
    assert json.loads(request.arguments["SecurityConfiguration"]) == {
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        }
    }
    assert run_job_flow("imds_hop_limit=1")["SecurityConfiguration"] == request.arguments["Name"]


def test_the_bucket_is_closed_before_anything_is_in_it() -> None:
    requests = bucket.setup_requests("mine", SETTINGS)
    operations = [request.operation for request in requests]
    assert operations[:2] == ["put_bucket_tagging", "put_public_access_block"]
    assert operations.index("put_object") > operations.index("put_bucket_encryption")
    by_name = {request.operation: request.arguments for request in requests}
    assert all(by_name["put_public_access_block"]["PublicAccessBlockConfiguration"].values())
    assert len(by_name["put_public_access_block"]["PublicAccessBlockConfiguration"]) == 4
    rule = by_name["put_bucket_encryption"]["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    created = bucket.create_request("mine", "eu-west-3").arguments
    assert created["ObjectOwnership"] == "BucketOwnerEnforced"
    assert created["CreateBucketConfiguration"] == {"LocationConstraint": "eu-west-3"}


def test_the_bucket_answers_tls_alone() -> None:
    """The double ignores conditions, and so would lock everybody out: the policy itself is what can be tested."""
    statement = bucket.tls_only("mine")["Statement"][0]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == ["arn:aws:s3:::mine", "arn:aws:s3:::mine/*"]


def test_the_bucket_has_its_folders_and_drops_logs_and_broken_uploads() -> None:
    rules = bucket.lifecycle(load_settings(["log_days=7", "multipart_days=2"]))["Rules"]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert (rules[1]["Filter"], rules[1]["Expiration"]) == ({"Prefix": "logs/"}, {"Days": 7})
    folders = {"data/raw/", "data/features/", "reports/", "logs/", "jupyter/", "code/"}
    assert folders | {f"data/{mode}/" for mode in list_modes()} <= set(bucket.prefixes())


@pytest.mark.parametrize("name", ["ab", "My-Bucket", "a.b.c", "x" * 64, "-ab", "ab-", "a_b", "s3://mine", ""])
def test_names_that_s3_or_tls_refuse_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="allowed: 3 to 63"):
        bucket.check_name(name)


@pytest.mark.parametrize(
    ("place", "message"),
    [(None, "us-east-1"), ("eu-west-2", "eu-west-2"), ("eu-west-3", "set region: eu-west-3"), ("us-west-2", "EU")],
)
def test_a_bucket_elsewhere_is_refused(place: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bucket.check_location({"LocationConstraint": place}, bucket="mine", region="eu-west-1")
    bucket.check_location({"LocationConstraint": "EU"}, bucket="mine", region="eu-west-1")  # Ireland's oldest name


def test_params_are_filled_and_kept() -> None:
    example = (repository() / bucket.EXAMPLE).read_text()
    filled = bucket.fill_params(example, bucket="mine")
    assert "BUCKET" not in filled
    assert filled.count("s3://mine") == example.count("s3://BUCKET")
    edited = filled.replace("batch_size: 16", "batch_size: 8").replace(
        "weights: imagenet", "weights: s3://minerva/x.h5"
    )
    moved = bucket.fill_params(edited, bucket="other")
    assert "batch_size: 8" in moved
    assert "s3://minerva/x.h5" in moved  # another bucket, though its name begins the same
    assert "s3://mine/" not in moved
    assert bucket.fill_params(moved, bucket="other") == moved
    with pytest.raises(UsageError, match="output_dir names no bucket"):
        bucket.fill_params("output_dir: data\n", bucket="mine")


def resources(statement: dict[str, Any]) -> list[str]:
    return statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]


def test_nodes_reach_this_bucket_and_nothing_else() -> None:
    policy = roles.node_policy("mine")
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions)
        if any(action.startswith("s3:") for action in actions):
            assert all(re.match(r"arn:aws:s3:::mine(/|$)", resource) for resource in resources(statement))
        else:
            assert statement["Sid"] == "Session"
    denied = next(statement for statement in policy["Statement"] if statement["Effect"] == "Deny")
    assert denied["Resource"] == ["arn:aws:s3:::mine/data/raw/*", "arn:aws:s3:::mine/code/*"]
    assert {"s3:PutObject", "s3:DeleteObject"} == set(denied["Action"])


def test_emr_may_pass_the_role_of_the_nodes_and_no_other() -> None:
    statement = roles.pass_policy(SETTINGS)["Statement"][0]
    assert statement["Resource"] == "arn:aws:iam::*:role/fruits-emr-node"
    assert statement["Action"] == "iam:PassRole"
    services = [
        json.loads(request.arguments["AssumeRolePolicyDocument"])["Statement"][0]["Principal"]["Service"]
        for request in roles.role_requests(SETTINGS, bucket="mine")
        if request.operation == "create_role"
    ]
    assert services == ["elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"]


@pytest.mark.parametrize(
    "cidr", ["0.0.0.0/0", "::/0", "203.0.113.0/24", "203.0.113.7/31", "2001:db8::1/128", "me", "203.0.113.300/32", ""]
)
def test_ssh_is_opened_to_one_address_alone(cidr: str) -> None:
    with pytest.raises(UsageError, match=r"203\.0\.113\.7/32|IPv4"):
        network.check_cidr(cidr)
    assert network.check_cidr("203.0.113.7/32") == network.check_cidr("203.0.113.7") == "203.0.113.7/32"
    rule = network.ssh_request("sg-1", "203.0.113.7/32").arguments["IpPermissions"][0]
    assert (rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) == (22, 22, "tcp")
    assert "Ipv6Ranges" not in rule


def test_the_groups_bear_the_tag_that_emr_asks_for() -> None:
    for request in network.group_requests(SETTINGS, vpc="vpc-1").values():
        tags = {tag["Key"]: tag["Value"] for tag in request.arguments["TagSpecifications"][0]["Tags"]}
        assert tags["for-use-with-amazon-emr-managed-policies"] == "true"
        assert tags["project"] == "fruits"


def test_the_step_names_what_it_runs() -> None:
    step = steps.step_request("j-1", bucket="mine", mode="MINI", run="r1").arguments["Steps"][0]
    assert step["HadoopJarStep"]["Jar"] == "command-runner.jar"
    assert step["HadoopJarStep"]["Args"][-4:] == ["s3://mine", "MINI", "r1", configurations.VENV]
    assert step["ActionOnFailure"] == "CONTINUE"


def test_no_request_holds_a_secret_or_an_account() -> None:
    requests = [
        *bucket.setup_requests("mine", SETTINGS),
        *roles.role_requests(SETTINGS, bucket="mine"),
        *network.group_requests(SETTINGS, vpc="vpc-1").values(),
        keypair.create_request(SETTINGS),
        cluster.run_request(SETTINGS, bucket="mine", subnet="subnet-1", groups=GROUPS, key="fruits-key"),
    ]
    text = json.dumps([request.as_json() for request in requests])
    assert not re.search(r"AKIA|ASIA|secret|password|\b\d{12}\b", text, re.IGNORECASE)
