"""The CloudFormation stacks, `base` and `image` (free) and `cluster` (costs money): deploy, follow, read, delete."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from emr.context import Context
from emr.settings import Settings
from fruits.aws import read_code
from fruits.errors import FruitsError, strip_controls

TEMPLATES = Path(__file__).parent / "templates"
_SPARKMAGIC = Path(__file__).parent / "sparkmagic.json"
_PLACEHOLDER = "{}  # emr/sparkmagic.json, filled in by stacks.read_template"
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# A stack whose parts are all there, also after an update that failed and was undone.
MADE = (*_DONE, "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
# A stack in one of these states holds nothing of use and takes no update: it is deleted before a new one is made.
USELESS = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")
_EVERY = 5.0


class Stack(NamedTuple):
    """What CloudFormation says of a stack."""

    id: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


def read_template(which: str) -> str:
    """Return the text of a template; that of the cluster with sparkmagic's settings in it, JSON values as text."""
    text = (TEMPLATES / f"{which}.yaml").read_text(encoding="utf-8")
    values = {key: json.dumps(value) for key, value in json.loads(_SPARKMAGIC.read_text(encoding="utf-8")).items()}
    return text.replace(_PLACEHOLDER, json.dumps(values))


def fill_parameters(settings: Settings, *keys: str, **more: object) -> dict[str, str]:
    """Return parameters of a template: settings, such as CoreCount for `core_count`, and others."""
    named = {key.title().replace("_", ""): getattr(settings, key) for key in keys}
    return {key: str(value) for key, value in (named | more).items()}


def plan(context: Context, which: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return what a dry run shows of a stack."""
    return {"stack": _name(context, which), "parameters": dict(parameters), "template": read_template(which)}


def find(context: Context, which: str) -> Stack | None:
    """Look for a stack; None if there is none."""
    return _describe(context, _name(context, which))


def find_resource(context: Context, which: str, logical: str) -> str | None:
    """Return the physical id of a resource, also while its stack is being made; None before it has one."""
    from botocore.exceptions import ClientError

    client = context.client("cloudformation")
    try:
        answer = client.describe_stack_resource(StackName=_name(context, which), LogicalResourceId=logical)
    except ClientError as error:
        if read_code(error) != "ValidationError":
            raise
        return None
    return answer["StackResourceDetail"].get("PhysicalResourceId") or None


def begin(context: Context, which: str, parameters: Mapping[str, str]) -> str | None:
    """Ask for a stack, or for the update of the one that is there; return its id, None if it is as asked already."""
    from botocore.exceptions import ClientError

    client, found = context.client("cloudformation"), find(context, which)
    if found and found.status.endswith("_IN_PROGRESS"):
        found = follow(context, found.id)
    if found and found.status in USELESS:
        delete(context, which)
        found = None
    try:
        return str(
            (client.update_stack if found else client.create_stack)(
                StackName=_name(context, which),
                TemplateBody=read_template(which),
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Tags=[{"Key": "project", "Value": context.settings.name}],
                ClientRequestToken=uuid.uuid4().hex,  # makes repeated requests one
            )["StackId"]
        )
    except ClientError as error:
        if not found or "No updates are to be performed" not in str(error):
            raise
        return None


def finish(context: Context, stack: str | None) -> None:
    """Wait until a stack is made or updated; a FruitsError gives CloudFormation's reasons why it was rolled back."""
    if stack is None:
        return
    ended = follow(context, stack)
    if ended is None or ended.status not in _DONE:
        raise FruitsError(f"the stack was not made: {_find_reasons(context, stack)}. Mend that and repeat the command.")


def delete(context: Context, which: str) -> None:
    """Delete a stack, if it is there, and wait; a FruitsError gives the reasons why something could not be deleted."""
    if found := find(context, which):
        context.client("cloudformation").delete_stack(StackName=found.id, ClientRequestToken=uuid.uuid4().hex)
        if follow(context, found.id):
            reasons = _find_reasons(context, found.id)
            raise FruitsError(f"stack {_name(context, which)} could not be deleted: {reasons}. Mend that and repeat.")


def follow(context: Context, stack: str) -> Stack | None:
    """Wait until a stack rests, and tell each step; None if it is deleted."""
    client, told = context.client("cloudformation"), datetime.now(UTC) - timedelta(seconds=2)
    while True:
        found = _describe(context, stack)
        events = client.describe_stack_events(StackName=stack)["StackEvents"]
        for event in reversed([event for event in events if event["Timestamp"] > told]):
            told = event["Timestamp"]
            context.say(f"{told:%H:%M:%S} {event['ResourceStatus']:<20} {event['LogicalResourceId']}")
        if found is None or found.status == "DELETE_COMPLETE":
            return None
        if not found.status.endswith("_IN_PROGRESS"):
            return found
        time.sleep(_EVERY)


def _describe(context: Context, name: str) -> Stack | None:
    from botocore.exceptions import ClientError

    try:
        (found,) = context.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if read_code(error) != "ValidationError":
            raise
        return None
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in found.get("Outputs", [])}
    parameters = {entry["ParameterKey"]: entry["ParameterValue"] for entry in found.get("Parameters", [])}
    return Stack(found["StackId"], found["StackStatus"], outputs, parameters)


def _find_reasons(context: Context, stack: str) -> str:
    """Join the reasons of what failed first; what was cancelled because of it has nothing to say."""
    events = context.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("_FAILED")]
    told = {event["LogicalResourceId"]: event.get("ResourceStatusReason", "cancelled") for event in failed}
    reasons = [f"{name}: {reason.rstrip('. ')}" for name, reason in told.items() if "cancelled" not in reason.lower()]
    return strip_controls("; ".join(reasons)) or "no event says why"


def _name(context: Context, which: str) -> str:
    return f"{context.settings.name}-{which}"
