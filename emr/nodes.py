"""The nodes of a cluster: which there are, how long they have run, what that came to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from emr import cluster as clusters
from emr.context import Context
from emr.costs import Node, count_up, format_money
from emr.request import Request
from fruits.errors import FruitsError

_PERIOD = 300  # CloudWatch gets EMR's metrics every five minutes
_NO_CLUSTER = dict.fromkeys(("cluster", "usd_per_hour", "predicted_usd", "mode"))


def list_nodes(context: Context, cluster: str) -> list[Node]:
    """Return all nodes that a cluster has or had."""
    entries = context.account.read_all(Request("emr", "list_instances", {"ClusterId": cluster}), key="Instances")
    found = clusters.describe(context, cluster).get("Status", {}).get("Timeline", {})
    return [read_node(entry, cluster_ended=found.get("EndDateTime")) for entry in entries if _began(entry)]


def read_node(entry: dict[str, Any], *, cluster_ended: datetime | None) -> Node:
    """Read a node out of EMR's answer; one without an end of its own ended with its cluster."""
    ended = entry["Status"]["Timeline"].get("EndDateTime") or cluster_ended
    return Node(entry["InstanceType"], entry.get("Market", "ON_DEMAND"), _began(entry), ended)


def _began(entry: dict[str, Any]) -> Any:
    return entry["Status"].get("Timeline", {}).get("CreationDateTime")


def show_status(context: Context) -> None:
    """Tell state, nodes, hours and money so far, and the idle time left."""
    remembered, alive = context.state.get("cluster"), clusters.find_clusters(context)
    found = clusters.describe(context, remembered) if remembered else {}
    if found and found["Status"]["State"] == "FORGOTTEN" and not context.account.dry_run:
        _forget_unknown(context, remembered)
        remembered = None
    cluster = remembered or next(iter(alive), None)
    if cluster is None:
        context.say("No cluster is alive. Start one: scripts/aws_setup.sh create-cluster")
        return
    _show_cluster(context, cluster, found if remembered else clusters.describe(context, cluster))
    for other in alive:
        if other != cluster:
            context.say(f"Alive too, ours by name and tag: {other}. End all: {clusters.TERMINATE}")


def _show_cluster(context: Context, cluster: str, found: dict[str, Any]) -> None:
    status, nodes, now = found["Status"], list_nodes(context, cluster), datetime.now(UTC)
    context.say(f"Cluster {cluster}: {status['State']}  {found.get('ReleaseLabel', '')}")
    if reason := status.get("StateChangeReason", {}).get("Message"):
        context.say(f"Reason:  {reason}")
    running = [node for node in nodes if node.ended is None]
    kinds = sorted({(node.kind, node.market) for node in running})
    counts = [f"{sum((n.kind, n.market) == kind for n in running)} x {kind[0]} ({kind[1].lower()})" for kind in kinds]
    context.say(f"Nodes:   {', '.join(counts) or 'none running'}")
    spent = count_up(nodes, context.settings, now=now)
    context.say(
        f"So far:  {spent.minutes / 60:.2f} h, about {format_money(spent.total, context.settings)} at list prices"
    )
    if status["State"] == "WAITING":
        context.say(f"Idle:    {describe_idle(read_idle(context, cluster, now=now), _timeout(context))}")
    if status["State"] not in clusters.OVER:
        context.say(f"End it:  {clusters.TERMINATE}")


def idle_request(cluster: str, *, now: datetime, minutes: int) -> Request:
    """Build the question how long the cluster has been idle: EMR's own answer goes to CloudWatch."""
    return Request(
        "cloudwatch",
        "get_metric_statistics",
        {
            "Namespace": "AWS/ElasticMapReduce",
            "MetricName": "IsIdle",
            "Dimensions": [{"Name": "JobFlowId", "Value": cluster}],
            "StartTime": now - timedelta(minutes=minutes),
            "EndTime": now,
            "Period": max(_PERIOD, -(-minutes * 60 // 1400 // _PERIOD) * _PERIOD),
            "Statistics": ["Minimum"],
        },
    )


def read_idle(context: Context, cluster: str, *, now: datetime) -> int | None:
    """Return for how many minutes, about, the cluster has been idle; None if CloudWatch does not know yet."""
    request = idle_request(cluster, now=now, minutes=_timeout(context))
    points = (context.account.read(request) or {}).get("Datapoints", [])
    if not points:
        return None
    busy = [point["Timestamp"] for point in points if point["Minimum"] < 1]
    since: datetime = max(busy) if busy else min(point["Timestamp"] for point in points)
    return max(0, round((now - since).total_seconds() / 60))


def describe_idle(idle: int | None, timeout: int) -> str:
    """Say how much idle time is left before the cluster ends itself."""
    if idle is None:
        return f"not known yet (reported every 5 minutes); it ends itself after {timeout} idle minutes"
    return f"about {idle} min; it ends itself in about {max(0, timeout - idle)} min unless something runs"


def _timeout(context: Context) -> int:
    return int(context.state.get("idle_minutes") or context.settings.idle_minutes)


def terminate(context: Context) -> None:
    """End the remembered cluster and all others of ours, wait until they are over, and show what they cost.

    Raises
    ------
    FruitsError
        If the remembered cluster does not bear our tag: none is ended then.
    """
    remembered, alive = context.state.get("cluster"), clusters.find_clusters(context)
    if context.account.dry_run:
        if remembered:
            context.account.send(Request("emr", "terminate_job_flows", {"JobFlowIds": [remembered]}))
        return
    known = clusters.describe(context, remembered) if remembered else {}
    if known and known["Status"]["State"] == "FORGOTTEN":
        _forget_unknown(context, remembered)
        remembered = None
    over = bool(remembered) and known["Status"]["State"] in clusters.OVER
    if remembered and not over and not clusters.is_ours(context, known):
        raise FruitsError(_not_ours(context, remembered))
    others = [cluster for cluster in alive if cluster != remembered]
    ending = ([remembered] if remembered and not over else []) + others
    if others:
        context.say(f"Ours by name and tag, but not remembered here: {', '.join(others)}")
    if ending:
        context.ask(f"End cluster {', '.join(ending)}? What is only on the nodes is lost.")
        context.account.send(Request("emr", "terminate_job_flows", {"JobFlowIds": ending}))
    elif not remembered:
        context.say("No cluster is alive: nothing to end.")
    for cluster in ([remembered] if over else []) + ending:
        _see_end(context, cluster)


def _not_ours(context: Context, cluster: str) -> str:
    return (
        f"cluster {cluster} does not bear the tag project={context.settings.name}: it is left alone, and nothing is "
        f"ended. Ended are only clusters with this tag. If it is yours, end it in AWS's console; "
        f'take "cluster" out of {context.state.file}, and repeat.'
    )


def _forget_unknown(context: Context, cluster: str) -> None:
    made, asked = context.state.get("region"), context.settings.region
    if made and made != asked:
        raise FruitsError(
            f"EMR in {asked} does not know cluster {cluster}: what is remembered here was made in {made}. "
            f"Nothing was done; repeat it there: --set region={made}"
        )
    context.state.update_if("cluster", cluster, **_NO_CLUSTER, last_cluster=cluster)
    context.say(
        f"EMR in {asked} does not know cluster {cluster} (any more): it is forgotten here. "
        "Was it in another region? `audit` looks in all."
    )


def _see_end(context: Context, cluster: str) -> None:
    """Wait for a cluster's end, forget it and reckon; forgotten first, so that no bad price keeps it remembered."""
    context.say(f"Waiting for the end of cluster {cluster}.")
    clusters.wait_for(context, cluster, clusters.OVER)
    state = context.state
    figures = {key: state.get(key) for key in _NO_CLUSTER} if state.get("cluster") == cluster else {}
    state.update_if("cluster", cluster, **_NO_CLUSTER, last_cluster=cluster)
    try:
        _say_costs(context, cluster, figures)
    except FruitsError as error:
        context.say(f"What cluster {cluster} cost cannot be reckoned: {error}")


def _say_costs(context: Context, cluster: str, figures: dict[str, Any]) -> None:
    settings = context.settings
    spent = count_up(list_nodes(context, cluster), settings, now=datetime.now(UTC))
    context.say(f"It ran {spent.minutes:.0f} min: {format_money(spent.total, settings)} ({spent.describe()}).")
    if estimate := float(figures.get("usd_per_hour") or 0) * spent.minutes / 60:
        context.say(f"The estimate for that time was {format_money(estimate, settings)}.")
    if predicted := figures.get("predicted_usd"):
        context.say(f"Predicted for {figures.get('mode')}: {format_money(float(predicted), settings)}.")
    context.say("These are list prices; the bill is in AWS's Cost Explorer a day later.")
