"""The cluster: its stack deployed, looked at, deleted."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from emr import stacks
from emr.context import SETUP, SPARK_LOGS, Context
from emr.costs import Node, count_up, estimate_hour, estimate_run, format_money
from emr.settings import Settings, check_release, size_spark
from emr.shipment import count_objects
from fruits.aws import read_code
from fruits.errors import UsageError, strip_controls

TERMINATE = f"{SETUP} terminate"
READY = ("RUNNING", "WAITING")
OVER = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")
# Where emr/bootstrap.sh puts the environment on every node.
VENV = "/opt/fruits/venv"
_PARAMETERS = (
    *("name", "release", "primary_type", "core_type", "core_count", "task_type", "task_count"),
    *("root_gb", "data_gb", "idle_minutes", "livy_minutes"),
)


def build_parameters(settings: Settings, *, bucket: str, now: datetime) -> dict[str, str]:
    """Compute the parameters of the stack `cluster` from the settings."""
    hour = format_money(estimate_hour(settings).total, settings)
    more = {
        "BucketName": bucket,
        "Venv": VENV,
        "IdleSeconds": settings.idle_minutes * 60,
        "EndAt": f"{now + timedelta(hours=settings.max_hours):%Y-%m-%dT%H:%M:%S}",
        "Wheelhouse": str(settings.wheelhouse).lower(),
        "Packed": str(settings.packed).lower(),
        "HourlyPrice": f"about {hour} an hour, prices of {settings.prices['date']}",
    }
    return stacks.fill_parameters(settings, *_PARAMETERS, **more, **size_spark(settings))


def create_cluster(context: Context, *, wait: bool) -> dict[str, Any] | None:
    """Show what it costs, then start the cluster (stack cluster). It costs money until `terminate`."""
    settings, bucket, now = context.settings, context.bucket, datetime.now(UTC)
    if warning := check_release(settings.release, today=now.date()):
        context.say(f"Warning: {warning}")
    parameters = build_parameters(settings, bucket=bucket, now=now)
    price = f"{parameters['HourlyPrice']}; a FULL run: {format_money(estimate_run(settings, 'FULL').total, settings)}."
    if context.dry_run:
        context.say(f"It costs {price}")
        return {"stacks": [stacks.plan(context, "cluster", parameters)]}
    base = stacks.find(context, "base")
    if base is None or base.status not in stacks.MADE or base.parameters["Zone"] != settings.zone:
        raise UsageError(
            f"there is no network in zone {settings.zone}; first, with the same --set: {SETUP} create-bucket {bucket}"
        )
    stack, found = stacks.find(context, "cluster"), describe(context)
    starting = stack is not None and stack.status == "CREATE_IN_PROGRESS"
    if stack and (starting or (found and found["Status"]["State"] not in OVER)):
        begun = stack.id if starting else None
        context.say(f"Cluster {found['Id'] if found else ''} is {'starting' if starting else 'alive'} already.")
    else:
        _check_bucket(context)
        context.say(f"It costs {price}")
        context.ask("Start it?")
        # A cluster that ended by itself leaves its stack. It is never updated: that could replace a cluster at work.
        stacks.delete(context, "cluster")
        # Spark and its History Server do not start if this folder is missing, and they do not make it.
        context.client("s3").put_object(Bucket=bucket, Key=SPARK_LOGS)
        begun = stacks.begin(context, "cluster", parameters)
        end = f"after {settings.idle_minutes} idle minutes, and at {parameters['EndAt']} UTC at the latest"
        context.say(f"The cluster is starting. It ends itself {end}.")
    if wait:
        stacks.finish(context, begun)
        context.say(f"It is ready: {SETUP} connect, or {SETUP} run MINI")
    context.say(f"It costs money until you end it: {TERMINATE}")
    return None


def _check_bucket(context: Context) -> None:
    """Refuse a start that would be paid for in vain: without code, model or images in the bucket no run succeeds."""
    missing = [what for what, count in count_objects(context).items() if not count]
    if missing:
        raise UsageError(
            f"s3://{context.bucket} lacks {', '.join(missing)}, and a cluster would cost money in vain. First run, on "
            f"this machine: fruits run MINI --target local (it makes the model), then {SETUP} upload-dataset"
        )


def describe(context: Context) -> dict[str, Any] | None:
    """Return EMR's description of the cluster of the stack, also while it starts; None if there is none."""
    cluster = stacks.find_resource(context, "cluster", "Cluster")
    return read_cluster(context.client("emr"), cluster) if cluster else None


def read_cluster(client: Any, cluster: str) -> dict[str, Any] | None:
    """Return EMR's description of a cluster; None if EMR has forgotten it, some months after its end."""
    from botocore.exceptions import ClientError

    try:
        return dict(client.describe_cluster(ClusterId=cluster)["Cluster"])
    except ClientError as error:
        if read_code(error) != "InvalidRequest":
            raise
        return None


def _describe_state(found: dict[str, Any]) -> str:
    reason = strip_controls(found["Status"].get("StateChangeReason", {}).get("Message", ""))
    return f"cluster {found['Id']} is {found['Status']['State']}{f' ({reason})' if reason else ''}"


def need_ready(context: Context) -> dict[str, Any]:
    """Return EMR's description of the cluster if it takes work; otherwise a UsageError tells its state."""
    found = describe(context)
    if found is None:
        raise UsageError(f"there is no cluster; first run: {SETUP} create-cluster")
    if found["Status"]["State"] not in READY:
        raise UsageError(
            f"{_describe_state(found)}; allowed: {', '.join(READY)}. See: {SETUP} status, {SETUP} create-cluster"
        )
    return found


def show_status(context: Context) -> None:
    """Show state, nodes, hours and money so far, and when the cluster ends itself."""
    if context.dry_run:
        return
    found, stack = describe(context), stacks.find(context, "cluster")
    if found is None or stack is None:
        context.say(f"There is no cluster (its stack: {stack.status if stack else 'none'}): {SETUP} create-cluster")
        return
    nodes = list_nodes(context, found)
    running = Counter(f"{node.kind} ({node.market.lower()})" for node in nodes if node.ended is None)
    spent = count_up(nodes, context.settings, now=datetime.now(UTC))
    context.say(f"State:   {_describe_state(found)}")
    context.say(f"Nodes:   {', '.join(f'{count} x {kind}' for kind, count in running.items()) or 'none running'}")
    context.say(f"So far:  {spent.minutes / 60:.2f} h, {format_money(spent.total, context.settings)} at list prices")
    if found["Status"]["State"] in OVER:
        context.say(f"Its stack is left, and the key of its disks costs about 1 USD a month: {TERMINATE}")
    elif not stack.status.startswith("CREATE"):
        context.say(f"Its stack is {stack.status}: the schedule that ends it may be gone. Repeat: {TERMINATE}")
    else:
        idle, end = stack.parameters["IdleMinutes"], stack.parameters["EndAt"]
        context.say(f"Ends:    after {idle} idle minutes; at {end} UTC at the latest; {TERMINATE}")


def list_nodes(context: Context, cluster: dict[str, Any]) -> list[Node]:
    """Return all nodes that a cluster has or had; one without an end of its own ended with its cluster."""
    pages = context.client("emr").get_paginator("list_instances").paginate(ClusterId=cluster["Id"])
    over = cluster["Status"].get("Timeline", {}).get("EndDateTime")
    nodes = []
    for entry in (entry for page in pages for entry in page["Instances"]):
        times = entry["Status"].get("Timeline", {})
        if began := times.get("CreationDateTime"):
            market = entry.get("Market", "ON_DEMAND")
            nodes.append(Node(entry["InstanceType"], market, began, times.get("EndDateTime") or over))
    return nodes


def terminate(context: Context) -> dict[str, Any] | None:
    """End the cluster, wait until it is over, show what it cost."""
    if context.dry_run:
        return {"delete": [f"{context.settings.name}-cluster"]}
    if stacks.find(context, "cluster") is None:
        where = f"account {context.account}, region {context.settings.region}"
        context.say(f"There is no cluster of {context.settings.name} in {where}. `{SETUP} audit` looks in all regions.")
        return None
    found = describe(context)
    if found and found["Status"]["State"] not in OVER:
        context.ask(f"End cluster {found['Id']}? What is only on its nodes is lost.")
    stacks.delete(context, "cluster")
    ended = read_cluster(context.client("emr"), found["Id"]) if found else None
    if ended:
        spent = count_up(list_nodes(context, ended), context.settings, now=datetime.now(UTC))
        cost = format_money(spent.total, context.settings)
        context.say(
            f"Now {_describe_state(ended)}. It ran {spent.minutes:.0f} min: {cost} ({spent.describe()}) "
            "at list prices; Cost Explorer has the bill a day later."
        )
    return None
