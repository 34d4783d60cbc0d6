"""`scripts/aws_setup.sh` and `python -m emr`: one function a command, each a skin over one call."""

import functools
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


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command that is handed a `Context`; what it returns is its exit code, or the plan of a dry run."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def call(*, dry_run: bool, yes: bool, overrides: Sequence[str], file: Path, **arguments: Any) -> None:
            context = _open(dry_run=dry_run, yes=yes, overrides=overrides, file=file)
            answer = function(context, **arguments)
            if dry_run:
                plan = {"command": name, **(answer or {}), "policy": _read_policy(context, **arguments)}
                click.echo(json.dumps(plan, indent=2, default=str))
            elif answer:
                click.get_current_context().exit(answer)

        for option in _OPTIONS:
            option(call)
        return cli.command(name)(call)

    return decorate


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


@cli.command("help")
def show_help() -> None:
    """Show this."""
    click.echo(cli.get_help(click.Context(cli, info_name="scripts/aws_setup.sh")))


@_command("check")
def check(context: Context) -> Any:
    """Say what is there, and what to do about the rest. Exit 1 if a prerequisite is missing."""
    from emr import check

    return check.check(context)


@_command("create-bucket")
@click.argument("name")
def create_bucket(context: Context, name: str) -> Any:
    """Make the private bucket NAME, a network, roles and a key (stack base), and params/emr.yaml for it."""
    from emr import base

    return base.create_bucket(context, name)


@_command("upload-dataset")
@click.argument("images", required=False, type=_FOLDER)
@click.option("--files", is_flag=True, help="Send the images as they are, not in a few shards.")
@click.option("--weights", type=_FOLDER, help="An .h5 file for the cluster.")
@click.option("--wheelhouse", is_flag=True, help="Bring the nodes' Python packages, too.")
def upload_dataset(context: Context, images: Path | None, **options: Any) -> Any:
    """Pack IMAGES (any folder that `fruits run` takes; default: that of params/local.yaml); send them, model, code."""
    from emr import shipment

    return shipment.upload_dataset(context, images, **options)


@_command("create-keypair")
def create_keypair(context: Context) -> Any:
    """Fetch the SSH key that create-bucket made, into a file of mode 400."""
    from emr import access

    return access.fetch_key(context)


@_command("create-cluster")
@click.option("--cidr", help="Your address, such as 203.0.113.7/32 (default: asked of AWS).")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is ready.")
def create_cluster(context: Context, cidr: str | None, no_wait: bool) -> Any:
    """Show what it costs, then start the cluster (stack cluster). It costs money until `terminate`."""
    from emr import cluster

    return cluster.create_cluster(context, cidr=cidr, wait=not no_wait)


@_command("status")
def status(context: Context) -> Any:
    """Show state, nodes, hours and money so far, and when it ends itself."""
    from emr import cluster

    return cluster.show_status(context)


@_command("connect")
@click.option("--ssm", is_flag=True, help="By AWS Systems Manager: no key, no open port.")
@click.option("--cidr", help="Your address now, if it has changed.")
@click.option("--print", "show", is_flag=True, help="Print the commands, open nothing.")
@click.option("--keep-password", is_flag=True, help="Leave the password of JupyterHub as it is.")
def connect(context: Context, **options: Any) -> Any:
    """Open the tunnel to JupyterHub at https://localhost:9443."""
    from emr import tunnel

    return tunnel.connect(context, **options)


@_command("run")
@click.argument("mode")
def run(context: Context, mode: str) -> Any:
    """Run MODE (a file in params/) on the cluster, follow it, fetch its report; exit as it exits."""
    from emr import steps

    return steps.run_mode(context, mode)


@_command("download-results")
@click.argument("modes", nargs=-1)
@click.option("--features", is_flag=True, help="The stored features too: 5 kB an image.")
def download_results(context: Context, modes: tuple[str, ...], features: bool) -> Any:
    """Bring the results of MODES (default: all) to data/emr_output/ and reports/emr/."""
    from emr import results

    return results.download_results(context, modes=modes, features=features)


@_command("terminate")
def terminate(context: Context) -> Any:
    """End the cluster, wait until it is over, show what it cost."""
    from emr import cluster

    return cluster.terminate(context)


@_command("cleanup")
@click.option("--keep-bucket", is_flag=True, help="Leave the bucket and what is in it.")
def cleanup(context: Context, keep_bucket: bool) -> Any:
    """Remove all that was made here, the bucket with all in it, and nothing else."""
    from emr import base

    return base.cleanup(context, keep_bucket=keep_bucket)


@_command("cost")
def cost(context: Context) -> None:
    """Predict what each mode costs, and what FULL costs by each type of node."""
    from emr import costs

    for line in costs.format_table(context.settings):
        context.say(line)


@_command("audit")
def audit(context: Context) -> Any:
    """List what of ours still costs money in any region of the EU."""
    from emr import audit

    return audit.audit(context)


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
