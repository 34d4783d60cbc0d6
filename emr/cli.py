"""`scripts/aws_setup.sh` and `python -m emr`: one function a command, each a skin over one call."""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from emr.context import Context, explain
from emr.settings import SETTINGS_FILE, load_settings
from fruits.errors import FruitsError, UsageError
from fruits.params import repository

# Another folder for memory, key, parameters and results than the repository; the tests use it.
HOME_VARIABLE = "FRUITS_AWS_HOME"
POLICY_FILE = Path(__file__).parent / "policy.json"
_FOLDER = click.Path(path_type=Path)
_OPTIONS = [
    click.option("--dry-run", is_flag=True, help="Print templates, parameters and the needed policy; ask AWS nothing."),
    click.option("--yes", is_flag=True, help="Answer every question with yes: for scripts."),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override emr/cluster.yaml. Repeatable."
    ),
    click.option("--settings", "file", default=SETTINGS_FILE, hidden=True, type=_FOLDER),
]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From nothing to FULL on EMR and back to nothing.

    The seven: create-bucket, upload-dataset, create-cluster, connect, run, download-results, terminate.
    Each may be repeated: it does what is left to do.
    """


@cli.command("help")
def show_help() -> None:
    """Show this."""
    click.echo(cli.get_help(click.Context(cli, info_name="scripts/aws_setup.sh")))


def _add(name: str, target: str, help_text: str, *parameters: Callable[[Any], Any]) -> None:
    """Add a command that calls `module.function` of emr with a `Context` and its parameters.

    What the function returns is the exit code, or, of a dry run, the plan.
    """
    module, _, function = target.partition(".")

    def call(*, dry_run: bool, yes: bool, overrides: Sequence[str], file: Path, **arguments: Any) -> None:
        context = _open(dry_run=dry_run, yes=yes, overrides=overrides, file=file)
        answer = getattr(importlib.import_module(f"emr.{module}"), function)(context, **arguments)
        if dry_run:
            plan = {"command": name, **(answer or {}), "policy": _read_policy(context, **arguments)}
            click.echo(json.dumps(plan, indent=2, default=str))
        elif answer:
            click.get_current_context().exit(answer)

    for add in (*_OPTIONS, *reversed(parameters)):
        add(call)
    cli.command(name, help=help_text)(call)


_add("check", "check.check", "Say what is there, and what to do about the rest. Exit 1 if a prerequisite is missing.")
_add(
    "create-bucket",
    "base.create_bucket",
    "Make the private bucket NAME, a network, roles and a key (stack base), and params/emr.yaml for it.",
    click.argument("name"),
)
_add(
    "upload-dataset",
    "shipment.upload_dataset",
    "Pack IMAGES (a folder of classes; default: that of params/local.yaml) and send them, model and code.",
    click.argument("source", metavar="[IMAGES]", required=False, type=_FOLDER),
    click.option("--files", is_flag=True, help="Send the images as they are, not in a few shards."),
    click.option("--weights", type=_FOLDER, help="An .h5 file for the cluster."),
)
_add("create-keypair", "tunnel.fetch_key", "Fetch the SSH key that create-bucket made, into a file of mode 400.")
_add(
    "create-cluster",
    "cluster.create_cluster",
    "Show what it costs, then start the cluster (stack cluster). It costs money until `terminate`.",
    click.option("--cidr", hidden=True, expose_value=False, help="`connect` lets your address in."),
    click.option("--wait/--no-wait", default=True, help="Wait until it is ready (default)."),
)
_add("status", "cluster.show_status", "Show state, nodes, hours and money so far, and when it ends itself.")
_add(
    "connect",
    "tunnel.connect",
    "Open the tunnel to JupyterHub at https://localhost:9443.",
    click.option("--ssm", is_flag=True, help="By AWS Systems Manager: no key, no open port."),
    click.option("--cidr", help="Your address now, if it has changed."),
    click.option("--print", "show", is_flag=True, help="Print the commands, open nothing."),
    click.option("--keep-password", is_flag=True, help="Leave the password of JupyterHub as it is."),
)
_add(
    "run",
    "steps.run_mode",
    "Run MODE (a file in params/) on the cluster, follow it, fetch its report; exit as it exits.",
    click.argument("mode"),
)
_add(
    "download-results",
    "results.download_results",
    "Bring the results of MODES (default: all) to data/emr_output/ and reports/emr/.",
    click.argument("modes", nargs=-1),
    click.option("--features", is_flag=True, help="The stored features too: 5 kB an image."),
)
_add("terminate", "cluster.terminate", "End the cluster, wait until it is over, show what it cost.")
_add(
    "cleanup",
    "base.cleanup",
    "Remove all that was made here, the bucket with all in it, and nothing else.",
    click.option("--keep-bucket", is_flag=True, help="Leave the bucket and what is in it."),
)
_add("cost", "costs.show_costs", "Predict what each mode costs, and what FULL costs by each type of node.")
_add("audit", "audit.audit", "List what of ours still costs money in any region of the EU.")


def _read_policy(context: Context, **arguments: Any) -> Any:
    """Read what the person needs to be allowed, with the names of this project in the place of the placeholders."""
    bucket = context.memory.get("bucket") or arguments.get("name") or "BUCKET"
    text = POLICY_FILE.read_text(encoding="utf-8").replace("REGION", context.settings.region)
    return json.loads(text.replace("NAME", context.settings.name).replace("BUCKET", bucket))


def _open(*, dry_run: bool, yes: bool, overrides: Sequence[str], file: Path) -> Context:
    def ask(question: str) -> None:
        if not yes and not click.confirm(question):
            raise UsageError("nothing was done. (--yes answers for you.)")

    def say(line: str) -> None:
        # A dry run's standard output is JSON and nothing else.
        click.echo(line, err=dry_run)

    home = Path(os.environ.get(HOME_VARIABLE) or repository())
    return Context(settings=load_settings(overrides, file=file), home=home, say=say, ask=ask, dry_run=dry_run)


def main() -> None:
    """Run the command line: exit 0, 1 failure, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM; `run` exits as its step."""
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(cli(standalone_mode=False, prog_name="aws_setup.sh"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("aws_setup.sh: interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        told = error if isinstance(error, FruitsError) else explain(error)
        if told is None:
            raise
        click.echo(f"aws_setup.sh: {told}", err=True)
        sys.exit(told.exit_code)


def _end(number: int, _: FrameType | None) -> None:
    """Leave through every `finally`: no ssh stays behind and holds the tunnel's port."""
    click.echo("aws_setup.sh: terminated", err=True)
    sys.exit(128 + number)
