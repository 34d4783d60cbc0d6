"""CloudFormation as moto does not play it: the resources it lacks, and all properties of an EMR cluster handed on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest


def complete_moto(patch: pytest.MonkeyPatch) -> None:
    """Close the gaps of moto that the stacks meet.

    Resources that it lacks (key pair with its private key in Parameter Store, bucket policy, schedule) are made; a
    cluster gets its groups, configurations and bootstrap actions and stays alive; its security configuration is JSON;
    retained resources stay, repositories of images may be deleted with what they hold; EMR and ECR are listed by the
    tagging API, EMR is found in the region that is asked. Conditions of bucket policies are not evaluated by moto, so
    that a TLS-only one would lock everybody out: none is enforced.
    """
    from moto.cloudformation import parsing
    from moto.cloudformation.models import Stack
    from moto.ec2.models.route_tables import RouteTable
    from moto.ec2.models.security_groups import SecurityGroupIngress
    from moto.emr.models import Cluster
    from moto.emr.models import ElasticMapReduceBackend as Backend
    from moto.emr.responses import ElasticMapReduceResponse
    from moto.iam.access_control import PermissionResult
    from moto.iam.models import Role
    from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend as Tagging
    from moto.s3.models import FakeBucket

    models = {kind: _make_model(kind, *how) for kind, how in _RESOURCES.items()}
    known = parsing.get_model_map()
    patch.setattr(parsing, "get_model_map", lambda: known | models)
    patch.setattr(Cluster, "create_from_cloudformation_json", classmethod(_create_cluster))
    secure = Backend.create_security_configuration

    def secure_as_json(self: Any, name: str, security_configuration: Any) -> Any:
        return secure(self, name, json.dumps(security_configuration))

    patch.setattr(Backend, "create_security_configuration", secure_as_json)
    patch.setattr(RouteTable, "delete_from_cloudformation_json", _delete_routes, raising=False)
    patch.setattr(SecurityGroupIngress, "delete", _delete_rule, raising=False)
    patch.setattr(Role, "delete_from_cloudformation_json", _delete_role)
    patch.setattr(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
    delete = parsing.ResourceMap._delete_resource

    def keep(self: Any, resource: Any, described: dict[str, Any]) -> None:
        if described.get("Properties", {}).get("EmptyOnDelete"):
            resource.images.clear()
        if described.get("DeletionPolicy") != "RetainExceptOnCreate":
            delete(self, resource, described)

    patch.setattr(parsing.ResourceMap, "_delete_resource", keep)
    end = Stack.delete

    def delete_once(self: Any) -> None:
        end(self)
        # Else whoever asks for the outputs of a deleted stack makes its resources again.
        self.output_map._output_json_map = {}

    patch.setattr(Stack, "delete", delete_once)
    made = Stack.stack_resources.fget
    # Resources whose condition is false are none.
    patch.setattr(Stack, "stack_resources", property(lambda self: [entry for entry in made(self) if entry is not None]))
    listed = Tagging._get_resources_generator

    def list_all(self: Any, tag_filters: Any = None, **options: Any) -> Iterator[Any]:
        yield from listed(self, tag_filters=tag_filters, **options)
        yield from _list_more(self, {entry["Key"]: entry["Values"] for entry in tag_filters})

    patch.setattr(Tagging, "_get_resources_generator", list_all)
    # Moto's server reads EMR's region from the host's name, which is 127.0.0.1; the signature tells it.
    patch.delattr(ElasticMapReduceResponse, "get_region_from_url")


def _make_model(kind: str, create: Any, delete: Any) -> type:
    """Make a model of a resource from two functions of its properties and its backends."""

    class Model:
        def __init__(self, name: str) -> None:
            self.physical_resource_id = name
            self.type = kind

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def is_created() -> bool:
            return True

        @classmethod
        def create_from_cloudformation_json(cls, name: str, described: Any, account: str, region: str, **_: Any) -> Any:
            return cls(create(described["Properties"], account, region))

        @classmethod
        def update_from_cloudformation_json(cls, original: Any, *_: Any) -> Any:
            return original

        @classmethod
        def delete_from_cloudformation_json(cls, name: str, described: Any, account: str, region: str) -> None:
            delete(name, account, region)

    return Model


def _create_key(properties: dict[str, Any], account: str, region: str) -> str:
    from moto.ec2.models import ec2_backends
    from moto.ssm.models import ssm_backends

    tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
    pair = ec2_backends[account][region].create_key_pair(properties["KeyName"], properties["KeyType"], tags)
    ssm_backends[account][region].put_parameter(
        name=f"/ec2/keypair/{pair.id}",
        description="",
        value=pair.key_material,
        parameter_type="SecureString",
        allowed_pattern="",
        keyid="",
        overwrite=False,
        tags=[],
        data_type="text",
        tier=None,
        policies=None,
    )
    return str(properties["KeyName"])


def _delete_key(name: str, account: str, region: str) -> None:
    from moto.ec2.models import ec2_backends
    from moto.ssm.models import ssm_backends

    pair = ec2_backends[account][region].delete_key_pair(name)
    ssm_backends[account][region].delete_parameter(f"/ec2/keypair/{pair.id}")


def _delete_routes(name: str, described: Any, account: str, region: str) -> None:
    from moto.ec2.models import ec2_backends

    backend = ec2_backends[account][region]
    backend.route_tables[name].associations.clear()
    backend.delete_route_table(name)


def _delete_rule(self: Any, account: str, region: str) -> None:
    from moto.ec2.exceptions import InvalidSecurityGroupNotFoundError
    from moto.ec2.models import ec2_backends

    source = [{"GroupId": self.properties["SourceSecurityGroupId"]}]
    with suppress(InvalidSecurityGroupNotFoundError):  # moto deletes in any order
        ec2_backends[account][region].revoke_security_group_ingress(
            self.properties["GroupId"], self.properties["IpProtocol"], None, None, [], source_groups=source
        )


def _delete_role(name: str, described: Any, account: str, region: str) -> None:
    """Delete a role with the policies of its template, and no others."""
    from moto.iam.models import iam_backends

    backend, properties = iam_backends[account]["aws"], described["Properties"]
    for policy in properties["Policies"]:
        backend.delete_role_policy(name, policy["PolicyName"])
    for arn in properties.get("ManagedPolicyArns", []):
        if arn in backend.get_role(name).managed_policies:
            backend.detach_role_policy(arn, name)
    for profile in backend.instance_profiles.values():
        profile.delete_role(name)
    backend.delete_role(name)


def _create_policy(properties: dict[str, Any], account: str, region: str) -> str:
    from moto.s3.models import s3_backends

    s3_backends[account]["aws"].put_bucket_policy(
        properties["Bucket"], json.dumps(properties["PolicyDocument"]).encode()
    )
    return f"{properties['Bucket']}-policy"


def _create_schedule(properties: dict[str, Any], account: str, region: str) -> str:
    from moto.scheduler.models import scheduler_backends

    scheduler_backends[account][region].create_schedule(
        name=properties["Name"],
        group_name="default",
        description="",
        start_date=None,
        end_date=None,
        schedule_expression=properties["ScheduleExpression"],
        schedule_expression_timezone=properties["ScheduleExpressionTimezone"],
        flexible_time_window=properties["FlexibleTimeWindow"],
        kms_key_arn="",
        state="ENABLED",
        target=properties["Target"],
        action_after_completion="NONE",
    )
    return str(properties["Name"])


def _delete_schedule(name: str, account: str, region: str) -> None:
    from moto.scheduler.models import scheduler_backends

    scheduler_backends[account][region].delete_schedule("default", name)


_RESOURCES: dict[str, tuple[Any, Any]] = {
    "AWS::EC2::KeyPair": (_create_key, _delete_key),
    "AWS::S3::BucketPolicy": (_create_policy, lambda *_: None),
    "AWS::Scheduler::Schedule": (_create_schedule, _delete_schedule),
}


def _create_cluster(cls: type[Any], /, name: str, described: Any, account: str, region: str, **_: Any) -> Any:
    """Make a cluster as `run_job_flow` would, from all properties of the template."""
    from moto.emr.models import emr_backends

    properties = described["Properties"]
    wanted, backend = properties["Instances"], emr_backends[account][region]
    attributes = {
        "ec2_key_name": wanted["Ec2KeyName"],
        "ec2_subnet_id": wanted["Ec2SubnetId"],
        "emr_managed_master_security_group": wanted["EmrManagedMasterSecurityGroup"],
        "emr_managed_slave_security_group": wanted["EmrManagedSlaveSecurityGroup"],
        "service_access_security_group": None,
        "keep_job_flow_alive_when_no_steps": wanted["KeepJobFlowAliveWhenNoSteps"],
        "termination_protected": wanted["TerminationProtected"],
        "availability_zone": f"{region}a",
    }
    cluster = backend.run_job_flow(
        name=properties["Name"],
        log_uri=properties["LogUri"],
        job_flow_role=properties["JobFlowRole"],
        service_role=properties["ServiceRole"],
        steps=[],
        instance_attrs=attributes,
        kerberos_attributes={},
        visible_to_all_users=True,
        release_label=properties["ReleaseLabel"],
        security_configuration=properties["SecurityConfiguration"],
        step_concurrency_level=properties["StepConcurrencyLevel"],
    )
    backend.add_applications(cluster.id, properties["Applications"])
    for role, group in _list_groups(wanted):
        request = {
            "instance_count": int(group["InstanceCount"]),
            "instance_role": role,
            "instance_type": group["InstanceType"],
            "market": group["Market"],
            "name": role.lower(),
        }
        (made,) = backend.add_instance_groups(cluster.id, [dict(request)])
        backend.run_instances(cluster.id, request, made)
    cluster.add_tags({tag["Key"]: tag["Value"] for tag in properties["Tags"]})
    return cluster


def _list_groups(wanted: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "MASTER", wanted["MasterInstanceGroup"]
    yield "CORE", wanted["CoreInstanceGroup"]
    yield from (("TASK", group) for group in wanted.get("TaskInstanceGroups") or [])


def _list_more(tagging: Any, wanted: dict[str, list[str]]) -> Iterator[Any]:
    from moto.core.resource_tagging import TaggedResource
    from moto.ecr.models import ecr_backends
    from moto.emr.models import emr_backends

    account, region = tagging.account_id, tagging.region_name
    emr, ecr = emr_backends[account][region], ecr_backends[account][region]
    listed = [
        (entry.arn, {tag["Key"]: tag["Value"] for tag in entry.tags}, "elasticmapreduce:cluster")
        for entry in emr.clusters.values()
    ]
    arns = [repository.arn for repository in ecr.repositories.values()]
    listed += [(arn, ecr.tagger.get_tag_dict_for_resource(arn), "ecr:repository") for arn in arns]
    for arn, tags, kind in listed:
        if all(tags.get(key) in values for key, values in wanted.items()):
            yield TaggedResource(arn, tags, kind)
