"""The cluster: asked for, waited for, ended."""

import time
from datetime import UTC, datetime
from typing import Any

from emr import keypair, network, roles
from emr.account import AwsError
from emr.bucket import CODE, LOGS, check_place
from emr.configurations import VENV, build_configurations
from emr.context import Context
from emr.costs import estimate_hour, estimate_run, format_money
from emr.releases import check_release
from emr.request import Request, read_tags, tag_list
from emr.settings import Settings
from fruits.errors import FruitsError

ALIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")
READY = ("RUNNING", "WAITING")
OVER = ("TERMINATED", "TERMINATED_WITH_ERRORS", "FORGOTTEN")
APPLICATIONS = ("Hadoop", "Spark", "Livy", "JupyterHub", "JupyterEnterpriseGateway")
TERMINATE = "scripts/aws_setup.sh terminate"
_EVERY = 15.0
# IAM tells EMR's regions of a new role within seconds, and instance profiles within a minute at most.
_ROLE_PATIENCE = 90
_UNKNOWN_ROLE = ("instanceprofile", "instance profile", "service role", "assume role")


class EndedError(FruitsError):
    """The cluster ended where it should have become ready."""


def run_request(settings: Settings, *, bucket: str, subnet: str, groups: dict[str, str], key: str | None) -> Request:
    """Build the request that starts the cluster."""
    instances: dict[str, Any] = {
        "InstanceGroups": instance_groups(settings),
        "Ec2SubnetId": subnet,
        "EmrManagedMasterSecurityGroup": groups["primary"],
        "EmrManagedSlaveSecurityGroup": groups["nodes"],
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
    }
    return Request(
        "emr",
        "run_job_flow",
        {
            "Name": settings.name,
            "ReleaseLabel": settings.release,
            "Applications": [{"Name": name} for name in APPLICATIONS],
            "Instances": instances | ({"Ec2KeyName": key} if key else {}),
            "Configurations": build_configurations(settings, bucket=bucket),
            "BootstrapActions": [bootstrap_action(settings, bucket=bucket)],
            "ServiceRole": roles.service_role(settings),
            "JobFlowRole": roles.node_role(settings),
            "SecurityConfiguration": roles.security_configuration(settings),
            "AutoTerminationPolicy": {"IdleTimeout": settings.idle_minutes * 60},
            "EbsRootVolumeSize": settings.root_gb,
            "LogUri": f"s3://{bucket}/{LOGS}",
            "StepConcurrencyLevel": 1,
            "Tags": tag_list(settings.tags | roles.EMR_TAG),
            "VisibleToAllUsers": True,
        },
    )


def instance_groups(settings: Settings) -> list[dict[str, Any]]:
    """Build the groups of nodes: primary and core on demand, the others on the spot market."""
    disk = {"VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": settings.data_gb}, "VolumesPerInstance": 1}
    groups = []
    for role, (kind, count, market) in zip(("MASTER", "CORE", "TASK"), settings.node_types, strict=False):
        group = {"Name": role.lower(), "InstanceRole": role, "InstanceType": kind, "InstanceCount": count}
        groups.append(group | {"Market": market, "EbsConfiguration": {"EbsBlockDeviceConfigs": [disk]}})
    return groups


def bootstrap_action(settings: Settings, *, bucket: str) -> dict[str, Any]:
    """Build what every node does first: install the environment."""
    code = f"s3://{bucket}/{CODE}"
    arguments = [VENV, f"{code}requirements-worker.txt"]
    arguments += [f"{code}wheelhouse/"] if settings.wheelhouse else []
    script = {"Path": f"{code}bootstrap.sh", "Args": arguments}
    return {"Name": "install the Python environment", "ScriptBootstrapAction": script}


def create_cluster(context: Context, *, cidr: str | None, wait: bool) -> None:
    """Show what it will cost, make what the cluster needs, start it and wait until it is ready.

    A cluster of ours that is alive is taken, not doubled.
    """
    warning = check_release(context.settings.release, today=datetime.now(UTC).date())
    bucket = context.bucket
    if warning:
        context.say(f"Warning: {warning}")
    if found := find_cluster(context):
        _take(context, found)
    else:
        check_bucket(context, bucket)
        _create(context, cidr=cidr)
    if wait and not context.account.dry_run:
        _wait_until_ready(context)
        context.say("It is ready: scripts/aws_setup.sh connect, or scripts/aws_setup.sh run MINI")
    context.say(f"It costs money until you end it: {TERMINATE}")


def _take(context: Context, found: str) -> None:
    context.say(f"Cluster {found} is alive already.")
    if found != context.state.get("cluster"):
        context.state.update(cluster=found, usd_per_hour=None, predicted_usd=None, mode=None)


def _wait_until_ready(context: Context) -> None:
    try:
        wait_for(context, context.state.need("cluster", command="create-cluster"), READY)
    except EndedError:
        raise
    except BaseException:
        context.say(f"It goes on starting, and costs money until you end it: {TERMINATE}")
        raise


def _create(context: Context, *, cidr: str | None) -> None:
    settings = context.settings
    hour = estimate_hour(settings)
    context.say(
        f"About {format_money(hour.total, settings)} an hour ({hour.describe()}; prices of {settings.prices['date']}); "
        f"a FULL run with its start: {format_money(estimate_run(settings, 'FULL').total, settings)}. "
        f"It ends itself after {settings.idle_minutes} idle minutes."
    )
    context.ask("Start it?")
    planned = cidr is None and context.account.dry_run
    address = "<your address>/32" if planned else network.check_cidr(cidr or network.find_address())
    request = _prepare(context, cidr=address, bucket=context.bucket)
    if found := find_cluster(context):  # started elsewhere while the question waited for its answer
        _take(context, found)
        return
    cluster = _start(context, request)
    context.say(f"Cluster {cluster} is starting, and costs money until you end it: {TERMINATE}")
    context.state.update(cluster=cluster, idle_minutes=settings.idle_minutes, usd_per_hour=round(hour.total, 4))


def check_bucket(context: Context, bucket: str) -> None:
    """Refuse to start a cluster whose nodes would find no code, or whose bucket lies elsewhere.

    Raises
    ------
    FruitsError
        Naming the command that comes first.
    """
    account = context.account
    if account.dry_run:
        return
    check_place(context, bucket)
    head = Request("s3", "head_object", {"Bucket": bucket, "Key": f"{CODE}bootstrap.sh"}, fine=("404", "NoSuchKey"))
    if account.read(head) is None:
        raise FruitsError(f"{bucket} holds no code yet; first run: scripts/aws_setup.sh upload-dataset")


def _prepare(context: Context, *, cidr: str, bucket: str) -> Request:
    settings, account = context.settings, context.account
    subnet, vpc = network.ensure_subnet(context)
    groups = network.ensure_groups(context, vpc=vpc, cidr=cidr)
    for request in roles.role_requests(settings, bucket=bucket):
        account.send(request)
    ensure_security_configuration(context)
    has_key = account.dry_run or (account.read(keypair.find_request(settings)) or {}).get("KeyPairs")
    if not has_key:
        context.say("No key pair: this cluster is reached by `connect --ssm` only (create-keypair makes one).")
    key = keypair.key_name(settings) if has_key else None
    return run_request(settings, bucket=bucket, subnet=subnet, groups=groups, key=key)


def ensure_security_configuration(context: Context) -> None:
    """Make the security configuration unless it is there; EMR has no error code of its own for that."""
    request = roles.security_request(context.settings)
    name = request.arguments["Name"]
    fine = ("InvalidRequestException", "ResourceNotFoundException")
    if context.account.read(Request("emr", "describe_security_configuration", {"Name": name}, fine=fine)) is None:
        context.account.send(request)


def _start(context: Context, request: Request) -> str:
    deadline = time.monotonic() + _ROLE_PATIENCE
    while True:
        try:
            return str(context.account.send(request, planned={"JobFlowId": "<cluster>"})["JobFlowId"])
        except AwsError as error:
            fresh = any(words in str(error).lower() for words in _UNKNOWN_ROLE)
            if not fresh or time.monotonic() > deadline:
                raise
            time.sleep(_EVERY / 3)
        except FruitsError:
            raise
        except BaseException:
            context.say(f"A cluster may have started; if so, it costs money until you end it: {TERMINATE}")
            raise


def find_cluster(context: Context) -> str | None:
    """Return a cluster of ours that is alive, None if there is none."""
    return next(iter(find_clusters(context)), None)


def find_clusters(context: Context) -> list[str]:
    """Return all clusters of ours that are alive, by name and tag."""
    found = []
    listed = context.account.read_all(Request("emr", "list_clusters", {"ClusterStates": list(ALIVE)}), key="Clusters")
    for entry in listed:
        if entry["Name"] != context.settings.name or entry["Status"]["State"] == "TERMINATING":
            continue
        if is_ours(context, describe(context, entry["Id"])):
            found.append(str(entry["Id"]))
    return found


def is_ours(context: Context, described: dict[str, Any]) -> bool:
    """Tell whether what EMR says of a cluster has our tag in it."""
    return read_tags(described.get("Tags")).items() >= context.settings.tags.items()


def describe(context: Context, cluster: str) -> dict[str, Any]:
    """Return what EMR says of a cluster; its state is FORGOTTEN if EMR does not know it any more."""
    request = Request("emr", "describe_cluster", {"ClusterId": cluster}, fine=("InvalidRequestException",))
    answer = context.account.read(request) or {}
    return dict(answer.get("Cluster", {"Status": {"State": "FORGOTTEN"}}))


def wait_for(context: Context, cluster: str, states: tuple[str, ...]) -> None:
    """Wait until the cluster is in one of these states, telling each change.

    Raises
    ------
    EndedError
        If it ends instead, with EMR's reason.
    """
    last = ""
    while True:
        status = describe(context, cluster)["Status"]
        if status["State"] != last:
            last = status["State"]
            context.say(f"{datetime.now(UTC):%H:%M:%S} {last}")
        if last in states:
            return
        if last in OVER:
            reason = status.get("StateChangeReason", {})
            raise EndedError(
                f"cluster {cluster} ended: {reason.get('Code', '')}: {reason.get('Message', '')}. Logs of its "
                f"nodes: s3://{context.bucket}/{LOGS}{cluster}/node/ (bootstrap-actions/ if the bootstrap failed)."
            )
        time.sleep(_EVERY)
