"""The commands against moto, in-process: what they make, that they may be repeated, that they leave nothing."""

import json
import re
import stat
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cloud import BUCKET, CIDR, Cloud, patch_call

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


def test_create_bucket_makes_what_is_free_and_writes_the_parameters(with_bucket: Cloud) -> None:
    s3, one = with_bucket.client("s3"), {"Bucket": BUCKET}
    assert s3.get_bucket_location(**one)["LocationConstraint"] == "eu-west-1"
    rule = s3.get_bucket_encryption(**one)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert "aws:SecureTransport" in s3.get_bucket_policy(**one)["Policy"]
    params = yaml.safe_load((with_bucket.home / "params/emr.yaml").read_text())
    assert params["output_dir"] == f"s3://{BUCKET}/data"
    assert with_bucket.memory == {"account": "123456789012", "region": "eu-west-1", "name": "fruits", "bucket": BUCKET}
    key = with_bucket.home / "fruits-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert "PRIVATE KEY" in key.read_text()
    assert with_bucket.alive() == []


def test_create_bucket_twice_keeps_what_a_person_changed_and_a_second_bucket_is_refused(with_bucket: Cloud) -> None:
    key = (with_bucket.home / "fruits-key.pem").read_text()
    file = with_bucket.home / "params/emr.yaml"
    file.write_text(file.read_text().replace("batch_size: 16", "batch_size: 8"))
    assert with_bucket.run("create-bucket", BUCKET).code == 0
    assert "batch_size: 8" in file.read_text()
    assert (with_bucket.home / "fruits-key.pem").read_text() == key
    done = with_bucket.run("create-bucket", "another-of-ours")
    assert (done.code, with_bucket.memory["bucket"]) == (2, BUCKET)
    assert f"the bucket of fruits is {BUCKET} already" in done.err


def test_a_bucket_that_was_not_made_from_here_is_left_alone(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="thesis.docx", Body=b"mine")
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "project", "Value": "fruits"}]})
    done = cloud.run("create-bucket", BUCKET)
    assert done.code == 2
    assert "was not made from here" in done.err
    assert cloud.memory == {}
    assert cloud.keys() == {"thesis.docx"}


def test_create_cluster_hands_everything_on(with_cluster: Cloud) -> None:
    found = with_cluster.cluster()
    assert found["Status"]["State"] == "WAITING"
    assert (found["Name"], found["ReleaseLabel"], found["AutoTerminate"]) == ("fruits", "emr-7.14.0", False)
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]}["for-use-with-amazon-emr-managed-policies"] == "true"
    attributes = found["Ec2InstanceAttributes"]
    assert (attributes["IamInstanceProfile"], attributes["Ec2KeyName"]) == ("fruits-emr-node", "fruits-key")
    iam = with_cluster.client("iam")
    policy = iam.get_role_policy(RoleName="fruits-emr-node", PolicyName="bucket")["PolicyDocument"]
    assert f"arn:aws:s3:::{BUCKET}/*" in json.dumps(policy)
    # Without this folder Spark does not start.
    assert "logs/spark/" in with_cluster.keys("logs/")
    (stop,) = with_cluster.client("scheduler").list_schedules()["Schedules"]
    schedule = with_cluster.client("scheduler").get_schedule(Name=stop["Name"])
    assert json.loads(schedule["Target"]["Input"]) == {"JobFlowIds": [found["Id"]]}
    at = datetime.fromisoformat(schedule["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
    assert timedelta(hours=5.9) < at - datetime.now(UTC) < timedelta(hours=6)


def test_create_cluster_twice_starts_one_and_status_and_terminate_tell_the_cost(filled: Cloud) -> None:
    done = filled.run("create-cluster", *CIDR)
    assert re.match(r"It costs about \d\.\d\d EUR", done.out)
    assert "after 30 idle minutes" in done.out
    assert done.out.rstrip().endswith("scripts/aws_setup.sh terminate")
    cluster = filled.cluster_id
    assert f"Cluster {cluster} is alive already" in filled.run("create-cluster", *CIDR).out
    assert filled.alive() == [cluster]
    told = filled.run("status").out
    words = ("WAITING", "3 x m5.xlarge (on_demand)", "EUR", "UTC at the latest", "scripts/aws_setup.sh terminate")
    assert [word for word in words if word not in told] == []
    done = filled.run("terminate")
    assert (done.code, filled.alive()) == (0, [])
    assert re.search(rf"cluster {cluster} is TERMINATED. It ran \d+ min: \d\.\d\d EUR", done.out)
    assert filled.client("scheduler").list_schedules()["Schedules"] == []
    assert "There is no cluster" in filled.run("status").out
    assert "There is no cluster of fruits in account 123456789012" in filled.run("terminate").out


def test_a_cluster_that_ended_by_itself_is_replaced(with_cluster: Cloud) -> None:
    first = with_cluster.cluster_id
    with_cluster.client("emr").terminate_job_flows(JobFlowIds=[first])
    assert "Its stack is left" in with_cluster.run("status").out
    done = with_cluster.run("create-cluster", *CIDR)
    assert (done.code, done.err) == (0, "")
    assert with_cluster.alive() == [with_cluster.cluster_id]


def test_a_cluster_that_could_not_run_is_not_started(with_bucket: Cloud) -> None:
    done = with_bucket.run("create-cluster", *CIDR)
    assert (done.code, with_bucket.alive()) == (2, [])
    assert f"s3://{BUCKET} lacks code, a model, images, and a cluster would cost money in vain" in done.err


def test_a_cluster_in_another_zone_than_its_network_is_refused(filled: Cloud) -> None:
    done = filled.run("create-cluster", "--set", "zone=b")
    assert done.code == 2
    assert "zone b" in done.err
    assert filled.alive() == []


def test_an_update_that_was_rolled_back_does_not_block_the_next(with_bucket: Cloud) -> None:
    from moto.cloudformation.models import cloudformation_backends

    (stack,) = cloudformation_backends["123456789012"]["eu-west-1"].stacks.values()
    stack.status = "UPDATE_ROLLBACK_COMPLETE"
    with patch_call("UpdateStack", "ValidationError", "No updates are to be performed."):
        assert with_bucket.run("create-bucket", BUCKET).code == 0
    assert "[x] stack fruits-base: UPDATE_ROLLBACK_COMPLETE" in with_bucket.run("check").out


def test_a_cluster_that_emr_has_forgotten_blocks_nothing(with_cluster: Cloud) -> None:
    cluster = with_cluster.cluster_id
    with_cluster.client("emr").terminate_job_flows(JobFlowIds=[cluster])
    with patch_call("DescribeCluster", "InvalidRequestException", "Cluster id is not valid"):
        assert "There is no cluster" in with_cluster.run("status").out
        assert with_cluster.run("audit").code == 0
        assert with_cluster.run("terminate").code == 0
        assert with_cluster.run("cleanup").code == 0
    assert with_cluster.client("cloudformation").list_exports()["Exports"] == []


@pytest.mark.parametrize(("key", "value"), [("account", "210987654321"), ("region", "eu-west-3"), ("name", "pears")])
def test_keys_of_another_account_region_or_name_do_nothing(with_cluster: Cloud, key: str, value: str) -> None:
    (with_cluster.home / ".fruits-aws.json").write_text(json.dumps(with_cluster.memory | {key: value}))
    alive = with_cluster.alive()
    for command in ("status", "terminate", "cleanup", "create-cluster", "audit"):
        done = with_cluster.run(command)
        assert done.code == 2
        assert f"what was made from here is in {key} {value}" in done.err
    assert with_cluster.alive() == alive


def test_cleanup_leaves_nothing(with_cluster: Cloud) -> None:
    iam, ec2 = with_cluster.client("iam"), with_cluster.client("ec2")
    # What EMR and people add to what is ours.
    attributes = with_cluster.cluster()["Ec2InstanceAttributes"]
    pair = [{"GroupId": attributes["EmrManagedSlaveSecurityGroup"]}]
    rule = {"IpProtocol": "tcp", "FromPort": 8443, "ToPort": 8443, "UserIdGroupPairs": pair}
    ec2.authorize_security_group_ingress(GroupId=attributes["EmrManagedMasterSecurityGroup"], IpPermissions=[rule])
    statement = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    theirs = iam.create_policy(PolicyName="theirs", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="fruits-emr-stop", PolicyArn=theirs)
    iam.put_role_policy(RoleName="fruits-emr-node", PolicyName="theirs", PolicyDocument=document)
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument="{}")
    done = with_cluster.run("cleanup")
    assert (done.code, done.err) == (0, "")
    assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["theirs"]
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    groups = {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    assert groups - {"ElasticMapReduce-ServiceAccess"} == {"default"}  # moto's own
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1  # the one that every account has
    assert with_cluster.client("s3").list_buckets()["Buckets"] == []
    assert with_cluster.alive() == []
    left = {file.relative_to(with_cluster.home).parts[0] for file in with_cluster.home.rglob("*") if file.is_file()}
    assert left == {"data"}  # models and images of this machine
    assert "Nothing of ours costs money" in with_cluster.run("audit").out
    assert with_cluster.run("cleanup").code == 0  # and may be repeated


def test_a_bucket_that_was_kept_is_taken_again(with_cluster: Cloud) -> None:
    assert with_cluster.run("cleanup", "--keep-bucket").code == 0
    kept = with_cluster.keys("data/")
    assert kept
    assert with_cluster.run("create-bucket", BUCKET).code == 0
    assert with_cluster.keys("data/") == kept
    assert with_cluster.run("create-cluster", *CIDR).code == 0
    assert with_cluster.run("cleanup").code == 0
    assert with_cluster.client("s3").list_buckets()["Buckets"] == []


def test_audit_tells_what_costs_money_in_any_region(with_cluster: Cloud) -> None:
    import boto3

    tags = [{"ResourceType": "volume", "Tags": [{"Key": "project", "Value": "fruits"}]}]
    ec2 = boto3.client("ec2", region_name="eu-north-1")
    volume = ec2.create_volume(AvailabilityZone="eu-north-1a", Size=8, TagSpecifications=tags)["VolumeId"]
    kms, tag = with_cluster.client("kms"), [{"TagKey": "project", "TagValue": "fruits"}]
    keys = [kms.create_key(Tags=tag)["KeyMetadata"]["KeyId"] for _ in range(2)]
    kms.schedule_key_deletion(KeyId=keys[0])
    lines = with_cluster.run("audit").out.splitlines()
    assert [line.split()[-1] for key in keys for line in lines if key in line] == ["Enabled"]
    wanted = (with_cluster.cluster_id, "eu-west-1", "WAITING"), (volume, "eu-north-1", "costs money")
    for words in (*wanted, (BUCKET, "costs money"), ("vpc/", "free")):
        assert any(all(word in line for word in words) for line in lines), words


@pytest.mark.parametrize(
    ("region", "code", "exit_code", "message"),
    [
        ("eu-west-3", "AccessDeniedException", 1, "not seen, so that things of ours may be there: eu-west-3"),
        ("eu-south-1", "UnrecognizedClientException", 0, "eu-south-1: not open to this account"),
        ("eu-west-1", "UnrecognizedClientException", 1, "not seen"),
    ],
)
def test_what_audit_may_not_see_is_told(cloud: Cloud, region: str, code: str, exit_code: int, message: str) -> None:
    with patch_call("GetResources", code, "no", region=region):
        done = cloud.run("audit")
    assert done.code == exit_code
    assert message in done.out + done.err
