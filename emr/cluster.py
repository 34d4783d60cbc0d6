"""The cluster: its stack deployed, looked at, deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from emr import access, stacks
from emr.bucket import CODE, MODELS
from emr.context import SETUP, Context, strip_controls
from emr.costs import Node, count_up, estimate_hour, estimate_run, format_money
from emr.settings import Settings, check_release, size_spark
from emr.shipment import input_prefix
from emr.transfer import list_objects
from fruits.errors import UsageError

TERMINATE = f"{SETUP} terminate"
READY = ("RUNNING", "WAITING")
OVER = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")
# Where emr/bootstrap.sh puts the environment on every node.
VENV = "/opt/fruits/venv"


def build_parameters(settings: Settings, *, bucket: str, now: datetime) -> dict[str, str]:
    """Compute the parameters of the stack `cluster` from the settings."""
    price = (
        f"about {format_money(estimate_hour(settings).total, settings)} an hour, prices of {settings.prices['date']}"
    )
    values = {
        "Name": settings.name,
        "BucketName": bucket,
        "Release": settings.release,
        "Venv": VENV,
        "PrimaryType": settings.primary_type,
        "CoreType": settings.core_type,
        "CoreCount": settings.core_count,
        "TaskType": settings.task_type,
        "TaskCount": settings.task_count,
        "RootGigabytes": settings.root_gb,
        "DataGigabytes": settings.data_gb,
        "IdleSeconds": settings.idle_minutes * 60,
        "IdleMinutes": settings.idle_minutes,
        "EndAt": f"{now + timedelta(hours=settings.max_hours):%Y-%m-%dT%H:%M:%S}",
        "LivyMinutes": settings.livy_minutes,
        **size_spark(settings),
        "Wheelhouse": str(settings.wheelhouse).lower(),
        "HourlyPrice": price,
    }
    return {key: str(value) for key, value in values.items()}


def create_cluster(context: Context, *, cidr: str | None, wait: bool) -> dict[str, Any] | None:
    """Show what it costs, deploy the stack and wait until the cluster is ready; one that is alive is taken."""
    settings, bucket, now = context.settings, context.bucket, datetime.now(UTC)
    if warning := check_release(settings.release, today=now.date()):
        context.say(f"Warning: {warning}")
    if context.dry_run:
        _say_price(context)
        return {"stacks": [stacks.plan(context, "cluster", build_parameters(settings, bucket=bucket, now=now))]}
    if stacks.find(context, "base") is None:
        raise UsageError(f"there is no stack {settings.name}-base; first run: {SETUP} create-bucket {bucket}")
    stack, found = stacks.find(context, "cluster"), describe(context)
    starting = stack is not None and stack.status == "CREATE_IN_PROGRESS"
    if stack and (starting or (found and found["Status"]["State"] not in OVER)):
        context.say(f"Cluster {found['Id'] if found else ''} is {'starting' if starting else 'alive'} already.")
    else:
        stack = _begin(context, cidr=cidr)
    if wait:
        stacks.finish(context, stack)
        context.say(f"It is ready: {SETUP} connect, or {SETUP} run MINI")
    context.say(f"It costs money until you end it: {TERMINATE}")
    return None


def _begin(context: Context, *, cidr: str | None) -> stacks.Stack:
    settings, bucket = context.settings, context.bucket
    _check_bucket(context)
    address = access.find_cidr(cidr)
    _say_price(context)
    context.ask("Start it?")
    # A cluster that ended by itself leaves its stack. It is never updated: that could replace a cluster at work.
    stacks.delete(context, "cluster")
    access.let_in(context, cidr=address)
    parameters = build_parameters(settings, bucket=bucket, now=datetime.now(UTC))
    stack = stacks.begin(context, "cluster", parameters)
    context.say(
        f"The cluster is starting. It ends itself after {settings.idle_minutes} idle minutes, and at "
        f"{parameters['EndAt']} UTC at the latest. It costs money until then, or until: {TERMINATE}"
    )
    return stack


def _say_price(context: Context) -> None:
    settings = context.settings
    hour = estimate_hour(settings)
    context.say(
        f"About {format_money(hour.total, settings)} an hour ({hour.describe()}; prices of {settings.prices['date']}); "
        f"a FULL run with its start: {format_money(estimate_run(settings, 'FULL').total, settings)}."
    )


def _check_bucket(context: Context) -> None:
    """Refuse a start that would be paid for in vain: without code, model or images in the bucket no run succeeds."""
    places = {"code": f"{CODE}bootstrap.sh", "a model": MODELS, "images": input_prefix(context)}
    missing = [
        what for what, prefix in places.items() if not list_objects(context.client("s3"), context.bucket, prefix)
    ]
    if missing:
        raise UsageError(
            f"s3://{context.bucket} lacks {', '.join(missing)}, and a cluster would cost money in vain. First run, on "
            f"this machine: fruits run MINI --target local (it makes the model), then {SETUP} upload-dataset"
        )


def describe(context: Context) -> dict[str, Any] | None:
    """Return EMR's description of the cluster of the stack, also while it starts; None if there is none."""
    cluster = stacks.find_resource(context, "cluster", "Cluster")
    return dict(context.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]) if cluster else None


def need_ready(context: Context) -> dict[str, Any]:
    """Return EMR's description of the cluster if it takes work; otherwise a UsageError tells its state."""
    found = describe(context)
    if found is None:
        raise UsageError(f"there is no cluster; first run: {SETUP} create-cluster")
    if found["Status"]["State"] not in READY:
        reason = found["Status"].get("StateChangeReason", {}).get("Message", "")
        raise UsageError(
            f"cluster {found['Id']} is {found['Status']['State']}{f' ({reason})' if reason else ''}; allowed: "
            f"{', '.join(READY)}. See: {SETUP} status, {SETUP} create-cluster"
        )
    return found


def show_status(context: Context) -> None:
    """Tell the cluster's state, nodes, hours and money so far, and when it ends itself."""
    if context.dry_run:
        return
    found, stack = describe(context), stacks.find(context, "cluster")
    if found is None:
        context.say(f"There is no cluster{f' (its stack is {stack.status})' if stack else ''}. {SETUP} create-cluster")
        return
    status, nodes, now = found["Status"], list_nodes(context, found), datetime.now(UTC)
    context.say(f"Cluster {found['Id']}: {status['State']}  {found.get('ReleaseLabel', '')}")
    if reason := status.get("StateChangeReason", {}).get("Message"):
        context.say(f"Reason:  {strip_controls(reason)}")
    running = [(node.kind, node.market) for node in nodes if node.ended is None]
    kinds = [f"{running.count(kind)} x {kind[0]} ({kind[1].lower()})" for kind in sorted(set(running))]
    context.say(f"Nodes:   {', '.join(kinds) or 'none running'}")
    spent = count_up(nodes, context.settings, now=now)
    context.say(
        f"So far:  {spent.minutes / 60:.2f} h, about {format_money(spent.total, context.settings)} (list prices)"
    )
    if status["State"] in OVER:
        context.say(f"Its stack is left, which costs nothing: {TERMINATE} removes it.")
    elif stack:
        idle = int(stack.parameters["IdleMinutes"])
        context.say(
            f"Ends:    after {idle} idle minutes; at {stack.parameters['EndAt']} UTC at the latest; {TERMINATE}"
        )


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
    """Delete the stack, which ends the cluster, wait for that, and show what it cost."""
    if context.dry_run:
        return {"delete": [f"{context.settings.name}-cluster"]}
    if stacks.find(context, "cluster") is None:
        context.say("There is no cluster: nothing to end.")
        return None
    found = describe(context)
    if found and found["Status"]["State"] not in OVER:
        context.ask(f"End cluster {found['Id']}? What is only on its nodes is lost.")
    stacks.delete(context, "cluster")
    if found:
        _say_costs(context, found["Id"])
    return None


def _say_costs(context: Context, cluster: str) -> None:
    settings = context.settings
    ended = context.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]
    try:
        spent = count_up(list_nodes(context, ended), settings, now=datetime.now(UTC))
    except UsageError as error:
        context.say(f"What cluster {cluster} cost cannot be computed: {error}")
        return
    context.say(
        f"Cluster {cluster} is {ended['Status']['State']}. It ran {spent.minutes:.0f} min: "
        f"{format_money(spent.total, settings)} ({spent.describe()}) at list prices; Cost Explorer "
        "has the bill a day later."
    )
