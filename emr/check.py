"""What a run on AWS needs: what is done, and the next steps."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

from emr import cluster, stacks
from emr.context import SETUP, Context, explain
from emr.settings import check_release
from emr.shipment import count_objects

_QUOTAS = {"ON_DEMAND": ("L-1216C47A", "core_count"), "SPOT": ("L-34B43A08", "task_count")}
_ASK = "aws service-quotas request-service-quota-increase --service-code ec2"
_Line = tuple[str, bool | None, str]  # what, whether it is done (None: not known), and what to do if not


def check(context: Context) -> int:
    """List what is done, and the next steps. Exit 1 if a prerequisite is missing."""
    prerequisites = list(_list_prerequisites(context))
    work = [] if context.dry_run else _list_work(context)
    for what, done, todo in (*prerequisites, *work):
        context.say(f"[x] {what}" if done else f"[{'?' if done is None else ' '}] {what}  ->  {todo}")
    return int(not context.dry_run and any(done is False for _, done, _ in prerequisites))


def _list_prerequisites(context: Context) -> Iterator[_Line]:
    settings, tool = context.settings, shutil.which("ssh") or shutil.which("session-manager-plugin")
    yield "ssh, or the session-manager-plugin", bool(tool), "install an OpenSSH client"
    warning = check_release(settings.release, today=datetime.now(UTC).date())
    yield f"release {warning or settings.release}", True, ""
    if not context.dry_run:
        yield f"account {context.account}, region {settings.region} (EU)", True, ""
        markets = dict.fromkeys(market for _, _, market in settings.node_types)
        yield from (_compare_quota(context, market) for market in markets)


def _compare_quota(context: Context, market: str) -> _Line:
    """Compare the quota of vCPUs, which is small for new accounts, with what the settings need."""
    from botocore.exceptions import ClientError

    (code, key), settings, rows = _QUOTAS[market], context.settings, context.settings.prices["instances"]
    nodes = [(rows[kind]["vcpus"], count) for kind, count, on in settings.node_types if on == market]
    need, (size, count) = sum(size * count for size, count in nodes), nodes[-1]
    what = f"{market.lower().replace('_', ' ')} nodes need {need} vCPUs; quota for all that runs"
    try:
        quota = context.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except ClientError as error:
        return f"{what}: not known", None, str(explain(error))
    fits = count - -(-(need - int(quota)) // size)
    smaller = f"--set {key}={fits}, or " if fits >= 1 else ""
    more = f"{_ASK} --region {settings.region} --quota-code {code} --desired-value {need}"
    return f"{what}: {quota:.0f}", need <= quota, f"{smaller}ask for more: {more}"


def _list_work(context: Context) -> Iterator[_Line]:
    status = getattr(stacks.find(context, "base"), "status", "none")
    made = status in stacks.MADE
    yield f"stack {context.settings.name}-base: {status}", made, f"{SETUP} create-bucket NAME"
    if made:
        counts = count_objects(context)
        told = ", ".join(f"{what} {count}" for what, count in counts.items())
        yield f"objects in {context.bucket}: {told}", all(counts.values()), f"{SETUP} upload-dataset"
    state = (cluster.describe(context) or {"Status": {"State": "none"}})["Status"]["State"]
    yield f"cluster: {state}", state in cluster.READY, f"{SETUP} create-cluster"
