"""The nodes of a cluster: which there are, how long they have run, what that came to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from emr import cluster as clusters
from emr.context import Context
from emr.costs import Node, count_up, format_money
from emr.request import Request

_PERIOD = 300  # CloudWatch gets EMR's metrics every five minutes


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
    cluster, now = context.state.get("cluster") or clusters.find_cluster(context), datetime.now(UTC)
    if cluster is None:
        context.say("No cluster is alive. Start one: scripts/aws_setup.sh create-cluster")
        return
    found = clusters.describe(context, cluster)
    status, nodes = found["Status"], list_nodes(context, cluster)
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
    """End the cluster, wait until it is over, and show what it cost beside the estimate."""
    cluster = context.state.get("cluster") or clusters.find_cluster(context)
    if cluster is None:
        context.say("No cluster is alive: nothing to end.")
        return
    if context.account.dry_run or clusters.describe(context, cluster)["Status"]["State"] not in clusters.OVER:
        context.ask(f"End cluster {cluster}? What is only on its nodes is lost.")
        context.account.send(Request("emr", "terminate_job_flows", {"JobFlowIds": [cluster]}))
    if context.account.dry_run:
        return
    clusters.wait_for(context, cluster, clusters.OVER)
    spent = count_up(list_nodes(context, cluster), context.settings, now=datetime.now(UTC))
    estimate = float(context.state.get("usd_per_hour") or 0) * spent.minutes / 60
    context.say(f"It ran {spent.minutes:.0f} min: {format_money(spent.total, context.settings)} ({spent.describe()}).")
    if estimate:
        context.say(f"The estimate for that time was {format_money(estimate, context.settings)}.")
    predicted = context.state.get("predicted_usd")
    if predicted:
        context.say(f"Predicted for {context.state.get('mode')}: {format_money(float(predicted), context.settings)}.")
    context.say("Both are list prices; the bill is in AWS's Cost Explorer a day later.")
    context.state.update(cluster=None, last_cluster=cluster, usd_per_hour=None, predicted_usd=None, mode=None)
