"""`scripts/aws_setup.sh` and `python -m emr`: one function a command, each a skin over one call."""

import dataclasses
import functools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from emr.account import Account
from emr.context import Context
from emr.settings import SETTINGS_FILE, load_settings
from emr.state import STATE_FILE, State
from fruits.errors import FruitsError, UsageError
from fruits.params import repository

# Another folder for state, key, parameters and results than the repository; the tests use it.
HOME_VARIABLE = "FRUITS_AWS_HOME"
_Command = Callable[..., int | None]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From nothing to FULL on EMR and back to nothing.

    The seven: create-bucket, upload-dataset, create-cluster, connect, run, download-results, terminate.
    Each may be repeated: it does what is left to do.
    """


def _command(name: str, *, looks: bool = False) -> Callable[[_Command], click.Command]:
    """Make a command that is handed a `Context`, prints its plan in a dry run, and exits with what it returns.

    One that only looks has nothing true to say in a dry run, and says nothing.
    """

    def decorate(function: _Command) -> click.Command:
        @functools.wraps(function)
        def call(*, dry_run: bool, yes: bool, overrides: Sequence[str], settings_file: Path, **arguments: Any) -> None:
            context = _open(dry_run=dry_run, yes=yes, overrides=overrides, settings_file=settings_file)
            if dry_run and looks:
                context = dataclasses.replace(context, say=lambda _: None)
            code = function(context, **arguments)
            if dry_run:
                code = 0
                plan = [request.as_json() for request in context.account.planned]
                click.echo(json.dumps(plan, indent=2, default=str))
            if code:
                click.get_current_context().exit(code)

        for option in _OPTIONS:
            option(call)
        return cli.command(name)(call)

    return decorate


_OPTIONS = [
    click.option("--dry-run", is_flag=True, help="Print the exact requests as JSON, send nothing."),
    click.option("--yes", is_flag=True, help="Answer every question with yes: for scripts."),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override emr/cluster.yaml. Repeatable."
    ),
    click.option("--settings", "settings_file", default=SETTINGS_FILE, hidden=True, type=click.Path(path_type=Path)),
]
_FOLDER = click.Path(path_type=Path)


def _open(*, dry_run: bool, yes: bool, overrides: Sequence[str], settings_file: Path) -> Context:
    home = Path(os.environ.get(HOME_VARIABLE) or repository())
    settings = load_settings(overrides, file=settings_file)

    def ask(question: str) -> None:
        if not (yes or dry_run) and not click.confirm(question):
            raise UsageError("nothing was done. (--yes answers for you.)")

    def say(line: str) -> None:
        # A dry run's standard output is JSON and nothing else.
        click.echo(line, err=dry_run)

    return Context(
        settings=settings,
        account=Account(settings.region, dry_run=dry_run),
        state=State(home / STATE_FILE, frozen=dry_run),
        home=home,
        say=say,
        ask=ask,
    )


@cli.command("help")
def show_help() -> None:
    """Show this."""
    click.echo(cli.get_help(click.Context(cli, info_name="scripts/aws_setup.sh")))


@_command("check", looks=True)
def check(context: Context) -> int:
    """Go through the checklist: what is done, and what to do. Exit 1 if a prerequisite is missing."""
    from emr import checklist

    return 0 if checklist.check(context) else 1


@_command("create-bucket")
@click.argument("name")
def create_bucket(context: Context, name: str) -> None:
    """Make the private bucket NAME and params/emr.yaml for it."""
    from emr import bucket

    bucket.create_bucket(context, name)


@_command("upload-dataset")
@click.argument("images", required=False, type=_FOLDER)
@click.option("--files", is_flag=True, help="Send the images as they are, not in a few shards.")
@click.option("--weights", type=_FOLDER, help="An .h5 file for the cluster.")
@click.option("--wheelhouse", is_flag=True, help="Bring the nodes' Python packages, too.")
def upload_dataset(context: Context, images: Path | None, files: bool, weights: Path | None, wheelhouse: bool) -> None:
    """Pack IMAGES (the folder with Training/; default: that of params/local.yaml) and send them, model and code."""
    from emr import shipment

    shipment.upload_dataset(context, images, files=files, weights=weights)
    if wheelhouse and not context.account.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            shipment.ship_wheelhouse(context, Path(folder))


@_command("create-keypair")
def create_keypair(context: Context) -> None:
    """Make the SSH key, in a file of mode 400."""
    from emr import keypair

    keypair.create_keypair(context)


@_command("create-cluster")
@click.option("--cidr", help="Your address, such as 203.0.113.7/32 (default: asked of AWS).")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is ready.")
def create_cluster(context: Context, cidr: str | None, no_wait: bool) -> None:
    """Show what it costs, then start the cluster. It costs money until `terminate`."""
    from emr import cluster

    cluster.create_cluster(context, cidr=cidr, wait=not no_wait)


@_command("status", looks=True)
def status(context: Context) -> None:
    """Show state, nodes, hours and money so far, idle time left."""
    from emr import nodes

    nodes.show_status(context)


@_command("connect")
@click.option("--ssm", is_flag=True, help="By AWS Systems Manager: no key, no open port.")
@click.option("--cidr", help="Your address now, if it has changed.")
@click.option("--print", "show", is_flag=True, help="Print the commands, open nothing.")
def connect(context: Context, ssm: bool, cidr: str | None, show: bool) -> int:
    """Open the tunnel to JupyterHub at https://localhost:9443."""
    from emr import tunnel

    return tunnel.connect(context, ssm=ssm, cidr=cidr, show=show)


@_command("run")
@click.argument("mode")
def run(context: Context, mode: str) -> int:
    """Run MODE (a file in params/) on the cluster, follow it, fetch its report; exit as it exits."""
    from emr import steps

    return steps.run_mode(context, mode)


@_command("download-results")
@click.argument("modes", nargs=-1)
@click.option("--features", is_flag=True, help="The stored features too: 5 kB an image.")
def download_results(context: Context, modes: tuple[str, ...], features: bool) -> None:
    """Bring the results of MODES (default: all) to data/emr_output/ and reports/emr/."""
    from emr import results

    results.download_results(context, modes=modes, features=features)


@_command("terminate")
def terminate(context: Context) -> None:
    """End the cluster, wait until it is over, show what it cost."""
    from emr import nodes

    nodes.terminate(context)


@_command("cleanup")
@click.option("--keep-bucket", is_flag=True, help="Leave the bucket and what is in it.")
def cleanup(context: Context, keep_bucket: bool) -> None:
    """Remove all that was made here, the bucket with all in it, and nothing else."""
    from emr import cleanup as removal

    removal.cleanup(context, keep_bucket=keep_bucket)


@_command("cost")
def cost(context: Context) -> None:
    """Predict what each mode costs, and by which settings FULL costs least."""
    from emr import costs

    for line in costs.format_table(context.settings):
        context.say(line)


@_command("audit", looks=True)
def audit(context: Context) -> None:
    """List what of ours still costs money in any region of the EU."""
    from emr import audit as auditing

    auditing.audit(context)


def main() -> None:
    """Run the command line: exit 0, 1 failure, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM; `run` exits as its step."""
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(cli(standalone_mode=False, prog_name="aws_setup.sh"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FruitsError as error:
        click.echo(f"aws_setup.sh: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("aws_setup.sh: interrupted", err=True)
        sys.exit(130)


def _end(number: int, _: FrameType | None) -> None:
    """Leave through every `finally`: no ssh stays behind and holds the tunnel's port."""
    click.echo("aws_setup.sh: terminated", err=True)
    sys.exit(128 + number)
