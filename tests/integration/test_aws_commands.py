"""The commands against moto, in-process: what they make, that they may be repeated, that they leave nothing."""

import json
import stat
from pathlib import Path

import pytest
import yaml
from cloud import BUCKET, CIDR, Cloud

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)


def test_create_bucket_makes_it_private_and_writes_the_parameters(with_bucket: Cloud) -> None:
    s3, one = with_bucket.client("s3"), {"Bucket": BUCKET}
    assert s3.get_bucket_location(**one)["LocationConstraint"] == "eu-west-1"
    assert all(s3.get_public_access_block(**one)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_ownership_controls(**one)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    rule = s3.get_bucket_encryption(**one)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    rules = s3.get_bucket_lifecycle_configuration(**one)["Rules"]
    assert {rule["ID"] for rule in rules} == {"broken-uploads", "old-logs"}
    assert "aws:SecureTransport" in s3.get_bucket_policy(**one)["Policy"]
    assert s3.get_bucket_tagging(**one)["TagSet"] == [{"Key": "project", "Value": "fruits"}]
    assert {"data/raw/", "data/FULL/", "jupyter/", "logs/", "code/"} <= with_bucket.keys()
    params = yaml.safe_load((with_bucket.home / "params/emr.yaml").read_text())
    assert params["output_dir"] == f"s3://{BUCKET}/data"


def test_create_bucket_twice_changes_nothing(with_bucket: Cloud) -> None:
    before = with_bucket.keys()
    file = with_bucket.home / "params/emr.yaml"
    file.write_text(file.read_text().replace("batch_size: 16", "batch_size: 8"))
    assert with_bucket.run("create-bucket", BUCKET).code == 0
    assert with_bucket.keys() == before
    assert "batch_size: 8" in file.read_text()


def test_a_bucket_with_other_things_in_it_is_left_alone(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="thesis.docx", Body=b"mine")
    done = cloud.run("create-bucket", BUCKET)
    assert done.code == 2
    assert "holds other things" in done.err
    assert cloud.keys() == {"thesis.docx"}
    assert cloud.state == {}


@pytest.mark.parametrize("place", ["eu-west-2", "us-west-2"])
def test_a_bucket_outside_the_eu_is_refused(cloud: Cloud, place: str) -> None:
    import boto3

    elsewhere = boto3.client("s3", region_name=place)
    elsewhere.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": place})
    done = cloud.run("create-bucket", BUCKET)
    assert done.code == 2
    assert f"lies in {place}" in done.err


def test_the_key_is_its_owners_alone_and_never_overwritten(cloud: Cloud) -> None:
    assert cloud.run("create-keypair").code == 0
    key = cloud.home / "fruits-key.pem"
    text = key.read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert "PRIVATE KEY" in text
    assert cloud.run("create-keypair").code == 0
    assert key.read_text() == text
    key.rename(cloud.home / "moved.pem")
    done = cloud.run("create-keypair")
    assert done.code == 2
    assert "AWS gives it out only once" in done.err
    assert not key.exists()


def test_a_key_file_without_its_pair_is_not_overwritten(cloud: Cloud) -> None:
    (cloud.home / "fruits-key.pem").write_text("precious")
    assert cloud.run("create-keypair").code == 2
    assert (cloud.home / "fruits-key.pem").read_text() == "precious"


def test_a_key_file_that_others_can_read_is_named(cloud: Cloud) -> None:
    cloud.run("create-keypair")
    (cloud.home / "fruits-key.pem").chmod(0o644)
    done = cloud.run("create-keypair")
    assert done.code == 1
    assert "chmod 400" in done.err


def test_create_cluster_makes_what_it_needs(with_cluster: Cloud) -> None:
    found = with_cluster.cluster()
    assert found["Status"]["State"] == "WAITING"
    assert found["ClusterArn"].split(":")[3] == "eu-west-1"
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]}["project"] == "fruits"
    attributes = found["Ec2InstanceAttributes"]
    assert attributes["IamInstanceProfile"] == "fruits-emr-node"
    assert attributes["Ec2KeyName"] == "fruits-key"
    ec2 = with_cluster.client("ec2")
    group = ec2.describe_security_groups(GroupIds=[attributes["EmrManagedMasterSecurityGroup"]])["SecurityGroups"][0]
    assert [rule["CidrIp"] for entry in group["IpPermissions"] for rule in entry["IpRanges"]] == ["203.0.113.7/32"]
    assert not any(entry["Ipv6Ranges"] for entry in group["IpPermissions"])
    subnet = ec2.describe_subnets(SubnetIds=[attributes["Ec2SubnetId"]])["Subnets"][0]
    assert {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"} in subnet["Tags"]
    iam = with_cluster.client("iam")
    policy = iam.get_role_policy(RoleName="fruits-emr-node", PolicyName="bucket")["PolicyDocument"]
    assert f"arn:aws:s3:::{BUCKET}/*" in json.dumps(policy)
    assert iam.list_attached_role_policies(RoleName="fruits-emr-node")["AttachedPolicies"] == []
    attached = iam.list_attached_role_policies(RoleName="fruits-emr-service")["AttachedPolicies"]
    assert [entry["PolicyName"] for entry in attached] == ["AmazonEMRServicePolicy_v2"]


def test_create_cluster_twice_starts_one(with_cluster: Cloud) -> None:
    first = with_cluster.state["cluster"]
    done = with_cluster.run("create-cluster", *CIDR)
    assert done.code == 0
    assert f"Cluster {first} is alive already" in done.out
    assert len(with_cluster.client("emr").list_clusters()["Clusters"]) == 1


def test_a_lost_state_finds_the_cluster_again(with_cluster: Cloud) -> None:
    first = with_cluster.state["cluster"]
    (with_cluster.home / ".fruits-aws.json").write_text(json.dumps({"bucket": BUCKET}))
    assert with_cluster.run("create-cluster", *CIDR).code == 0
    assert with_cluster.state["cluster"] == first


def test_a_changed_address_takes_the_place_of_the_old(with_cluster: Cloud) -> None:
    assert with_cluster.run("terminate").code == 0
    assert with_cluster.run("create-cluster", "--cidr", "198.51.100.9/32").code == 0
    group = with_cluster.cluster()["Ec2InstanceAttributes"]["EmrManagedMasterSecurityGroup"]
    found = with_cluster.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert [rule["CidrIp"] for entry in found["IpPermissions"] for rule in entry["IpRanges"]] == ["198.51.100.9/32"]


def test_a_cluster_without_code_in_the_bucket_is_not_started(with_bucket: Cloud) -> None:
    done = with_bucket.run("create-cluster", *CIDR)
    assert done.code == 1
    assert "holds no code yet; first run: scripts/aws_setup.sh upload-dataset" in done.err
    assert with_bucket.client("emr").list_clusters()["Clusters"] == []


def test_create_cluster_ends_with_how_to_end_it(with_bucket: Cloud, fruit_folder: Path) -> None:
    with_bucket.run("upload-dataset", str(fruit_folder), "--files")
    done = with_bucket.run("create-cluster", *CIDR)
    assert done.out.rstrip().endswith("scripts/aws_setup.sh terminate")
    assert "EUR" in done.out
    assert "No key pair: this cluster is reached by `connect --ssm` only" in done.out


def test_status_tells_state_nodes_and_money(with_cluster: Cloud) -> None:
    done = with_cluster.run("status")
    assert done.code == 0
    for words in ("WAITING", "3 x m5.xlarge (on_demand)", "EUR", "Idle:", "scripts/aws_setup.sh terminate"):
        assert words in done.out


def test_status_without_a_cluster(with_bucket: Cloud) -> None:
    done = with_bucket.run("status")
    assert done.code == 0
    assert "No cluster is alive" in done.out


def test_terminate_waits_and_shows_the_cost_beside_the_estimate(with_cluster: Cloud) -> None:
    cluster = with_cluster.state["cluster"]
    done = with_cluster.run("terminate")
    assert done.code == 0
    assert "TERMINATED" in done.out
    assert "It ran" in done.out
    assert "The estimate for that time" in done.out
    assert with_cluster.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] == "TERMINATED"
    again = with_cluster.run("terminate")
    assert (again.code, again.out.strip()) == (0, "No cluster is alive: nothing to end.")


def test_connect_prints_the_tunnel_of_this_cluster(with_cluster: Cloud) -> None:
    done = with_cluster.run("connect", "--print")
    assert done.code == 0
    assert "-L 9443:localhost:9443" in done.out
    assert "compute" in done.out
    assert "jovyan" in done.out
    ssm = with_cluster.run("connect", "--ssm", "--print")
    assert "--target i-" in ssm.out


def test_check_ticks_what_is_done(with_cluster: Cloud) -> None:
    done = with_cluster.run("check")
    assert done.code == 0
    for words in (
        "[x] public access blocked",
        "[x] TLS only",
        "[x] cluster ready (WAITING)",
        "[x] roles",
        "[x] encrypted",
    ):
        assert words in done.out
    assert "[ ] a report in the bucket (0 objects)  ->  scripts/aws_setup.sh run MINI" in done.out
    assert "[ ] no cluster left running  ->  scripts/aws_setup.sh terminate" in done.out


def test_audit_finds_what_costs_money(with_cluster: Cloud) -> None:
    done = with_cluster.run("audit")
    assert done.code == 0
    assert with_cluster.state["cluster"] in done.out
    assert BUCKET in done.out


def test_audit_finds_a_cluster_in_another_region(cloud: Cloud) -> None:
    import boto3

    boto3.client("emr", region_name="eu-north-1").run_job_flow(
        Name="fruits", Instances={"KeepJobFlowAliveWhenNoSteps": True}, JobFlowRole="x", ServiceRole="y"
    )
    done = cloud.run("audit")
    assert "eu-north-1" in done.out
    assert "cluster" in done.out


def test_cleanup_leaves_nothing(with_cluster: Cloud) -> None:
    done = with_cluster.run("cleanup")
    assert (done.code, done.err) == (0, "")
    iam, ec2, emr = (with_cluster.client(service) for service in ("iam", "ec2", "emr"))
    assert [role for role in iam.list_roles()["Roles"] if "fruits" in role["RoleName"]] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []
    assert [g for g in ec2.describe_security_groups()["SecurityGroups"] if "fruits" in g["GroupName"]] == []
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert [s for s in ec2.describe_subnets()["Subnets"] if s.get("Tags")] == []
    assert with_cluster.client("s3").list_buckets()["Buckets"] == []
    assert {c["Status"]["State"] for c in emr.list_clusters()["Clusters"]} == {"TERMINATED"}
    assert [file for file in with_cluster.home.rglob("*") if file.is_file()] == []
    assert "Nothing of ours" in with_cluster.run("audit").out
    assert with_cluster.run("cleanup").code == 0  # and may be repeated


def test_cleanup_leaves_what_is_not_ours(with_cluster: Cloud) -> None:
    iam, ec2, s3 = (with_cluster.client(service) for service in ("iam", "ec2", "s3"))
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument="{}")
    iam.untag_role(RoleName="fruits-emr-service", TagKeys=["project"])
    ec2.create_key_pair(KeyName="theirs")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_security_group(GroupName="theirs", Description="-", VpcId=vpc)
    s3.create_bucket(Bucket="theirs-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    done = with_cluster.run("cleanup")
    assert done.code == 0
    assert {"theirs", "fruits-emr-service"} <= {role["RoleName"] for role in iam.list_roles()["Roles"]}
    assert "role fruits-emr-service does not bear the tag project=fruits: it is left alone" in done.out
    assert [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]] == ["theirs"]
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["theirs-bucket"]
    assert "theirs" in {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}


def test_a_forgotten_bucket_is_taken_back_by_its_name(with_bucket: Cloud) -> None:
    (with_bucket.home / ".fruits-aws.json").unlink()
    done = with_bucket.run("cleanup")
    assert "`audit` lists those of ours; `create-bucket NAME` takes one back" in done.out
    assert with_bucket.keys("data/raw/")
    assert with_bucket.run("create-bucket", BUCKET).code == 0
    assert with_bucket.run("cleanup").code == 0
    assert with_bucket.client("s3").list_buckets()["Buckets"] == []


def test_a_second_bucket_does_not_make_the_first_forgotten(with_bucket: Cloud) -> None:
    done = with_bucket.run("create-bucket", "another-of-ours")
    assert f"Until now it was {BUCKET}: it stays" in done.out
    assert with_bucket.keys("data/raw/")
    assert "s3://another-of-ours/" in (with_bucket.home / "params/emr.yaml").read_text()


def test_cleanup_can_keep_the_bucket(with_cluster: Cloud) -> None:
    assert with_cluster.run("cleanup", "--keep-bucket").code == 0
    assert with_cluster.keys("data/raw/")
    assert with_cluster.state["bucket"] == BUCKET


def test_cleanup_does_not_touch_a_bucket_without_our_tag(with_bucket: Cloud) -> None:
    with_bucket.client("s3").delete_bucket_tagging(Bucket=BUCKET)
    done = with_bucket.run("cleanup")
    assert done.code == 1
    assert "is left alone" in done.err
    assert with_bucket.keys("data/raw/")
