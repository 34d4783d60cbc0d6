"""What a run on AWS needs: what is done, and the next steps."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

from emr import cluster, stacks
from emr.context import SETUP, Context, explain
from emr.settings import check_release
from emr.shipment import count_objects
from fruits.checks import Check

_QUOTAS = {"ON_DEMAND": ("L-1216C47A", "core_count"), "SPOT": ("L-34B43A08", "task_count")}
_ASK = "aws service-quotas request-service-quota-increase --service-code ec2"


def check(context: Context) -> int:
    """List what is done, and the next steps. Exit 1 if a prerequisite is missing."""
    prerequisites = list(_list_prerequisites(context))
    work = [] if context.dry_run else _list_work(context)
    for line in (*prerequisites, *work):
        context.say(str(line))
    return int(not context.dry_run and any(line.status == "missing" for line in prerequisites))


def _list_prerequisites(context: Context) -> Iterator[Check]:
    settings, tool = context.settings, shutil.which("ssh") or shutil.which("session-manager-plugin")
    yield _judge(bool(tool), "ssh, or the session-manager-plugin", cure="install an OpenSSH client")
    warning = check_release(settings.release, today=datetime.now(UTC).date())
    yield Check(f"release {warning or settings.release}", "ok", "")
    if not context.dry_run:
        yield Check(f"account {context.account}, region {settings.region} (EU)", "ok", "")
        markets = dict.fromkeys(market for _, _, market in settings.node_types)
        yield from (_compare_quota(context, market) for market in markets)


def _compare_quota(context: Context, market: str) -> Check:
    """Compare the quota of vCPUs, which is small for new accounts, with what the settings need."""
    from botocore.exceptions import ClientError

    (code, key), settings, rows = _QUOTAS[market], context.settings, context.settings.prices["instances"]
    nodes = [(rows[kind]["vcpus"], count) for kind, count, on in settings.node_types if on == market]
    need, (size, count) = sum(size * count for size, count in nodes), nodes[-1]
    what = f"{market.lower().replace('_', ' ')} nodes need {need} vCPUs; quota for all that runs"
    try:
        quota = context.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except ClientError as error:
        return Check(what, "warning", "not known", str(explain(error)))
    fits = count - -(-(need - int(quota)) // size)
    smaller = f"--set {key}={fits}, or " if fits >= 1 else ""
    more = f"{_ASK} --region {settings.region} --quota-code {code} --desired-value {need}"
    return _judge(need <= quota, what, f"{quota:.0f}", cure=f"{smaller}ask for more: {more}")


def _list_work(context: Context) -> Iterator[Check]:
    status = getattr(stacks.find(context, "base"), "status", "none")
    made = status in stacks.MADE
    yield _judge(made, f"stack {context.settings.name}-base", status, cure=f"{SETUP} create-bucket NAME")
    if made:
        counts = count_objects(context)
        told = ", ".join(f"{what} {count}" for what, count in counts.items())
        there = all(counts.values())
        yield _judge(there, f"objects in {context.bucket}", told, cure=f"{SETUP} upload-dataset")
    state = (cluster.describe(context) or {"Status": {"State": "none"}})["Status"]["State"]
    yield _judge(state in cluster.READY, "cluster", state, cure=f"{SETUP} create-cluster")


def _judge(done: bool, what: str, found: str = "", *, cure: str) -> Check:
    return Check(what, "ok" if done else "missing", found, cure)
