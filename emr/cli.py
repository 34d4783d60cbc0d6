"""`scripts/aws_setup.sh` and `python -m emr`: each command calls one function."""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from emr import audit, base, check, cluster, costs, image, results, shipment, steps, tunnel
from emr.context import SETUP, Context, explain
from emr.settings import load_settings
from fruits.errors import FruitsError, UsageError
from fruits.params import repository

# Another folder for memory, key, parameters and results than the repository; the tests use it.
HOME_VARIABLE = "FRUITS_AWS_HOME"
POLICY_FILE = Path(__file__).parent / "policy.json"
# On top, for those who build images: one policy has not the room for all.
IMAGE_POLICY_FILE = Path(__file__).parents[1] / "docker" / "policy.json"
_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OPTIONS = [
    click.option("--dry-run", is_flag=True, help="Print templates, parameters and the needed policy; ask AWS nothing."),
    click.option("--yes", is_flag=True, help="Answer every question with yes: for scripts."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override emr/cluster.yaml."),
]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """From nothing to FULL on EMR and back to nothing.

    The seven: create-bucket, upload-dataset, create-cluster, connect, run, download-results, terminate.
    Each may be repeated: it does what is left to do. `scripts/aws_setup.sh COMMAND --help` shows an example.
    """


@cli.command("help")
def show_help() -> None:
    """Show this."""
    click.echo(cli.get_help(click.Context(cli, info_name="scripts/aws_setup.sh")))


def _add(name: str, function: Callable[..., Any], *parameters: Callable[[Any], Any], example: str = "") -> None:
    """Add a command that calls a function with a `Context` and its parameters; its help is the function's docstring.

    What the function returns is the exit code, or, of a dry run, the plan.
    """

    def call(*, dry_run: bool, yes: bool, overrides: Sequence[str], **arguments: Any) -> None:
        context = _open(dry_run=dry_run, yes=yes, overrides=overrides)
        answer = function(context, **arguments)
        if dry_run:
            plan = {"command": name, **(answer or {})}
            if not arguments.get("local"):  # a Docker engine needs no permission
                plan["policy"] = _read_policy(context, **arguments)
                if function is image.build_image:
                    plan["image_policy"] = _read_policy(context, file=IMAGE_POLICY_FILE)
            click.echo(json.dumps(plan, indent=2, default=str))
        elif answer:
            click.get_current_context().exit(answer)

    for add in (*_OPTIONS, *reversed(parameters)):
        add(call)
    cli.command(name, help=function.__doc__, epilog=f"Example: {SETUP} {name} {example}".rstrip())(call)


_flag = partial(click.option, is_flag=True)
_add("check", check.check)
_add("create-bucket", base.create_bucket, click.argument("name"), example="my-fruits")
_add(
    "upload-dataset",
    shipment.upload_dataset,
    click.argument("source", metavar="[IMAGES]", required=False, type=_FOLDER),
    _flag("--files", help="Send the images as they are, not in a few shards."),
    click.option("--weights", type=_FILE, help="An .h5 file for the cluster."),
    _flag("--wheelhouse", help="Bring the nodes' Python packages, too."),
    example="data/raw/fruits-360_dataset/fruits-360",
)
_add("create-keypair", tunnel.fetch_key)
_add(
    "create-cluster",
    cluster.create_cluster,
    click.option("--cidr", hidden=True, expose_value=False, help="`connect` lets your address in."),
    click.option("--wait/--no-wait", default=True, help="Wait until it is ready (default)."),
    example="--set core_count=3",
)
_add("status", cluster.show_status)
_add(
    "connect",
    tunnel.connect,
    _flag("--ssm", help="By AWS Systems Manager: no key, no open port."),
    click.option("--cidr", help="Your address now, such as 203.0.113.7/32 (default: asked of AWS)."),
    _flag("--print", "show", help="Print the commands, open nothing."),
    _flag("--keep-password", help="Leave the password of JupyterHub as it is."),
)
_add("run", steps.run_mode, click.argument("mode"), example="APPLES")
_add(
    "download-results",
    results.download_results,
    click.argument("modes", nargs=-1),
    _flag("--features", help="The stored features too: 5 kB an image."),
    example="APPLES",
)
_add("terminate", cluster.terminate)
_add("cleanup", base.cleanup, _flag("--keep-bucket", help="Leave the bucket and what is in it."))
_add("cost", costs.show_costs)
_add("audit", audit.audit)
_add(
    "build-image",
    image.build_image,
    click.argument("tag"),
    _flag("--emr-serverless", help="The image for EMR Serverless."),
    _flag("--local", help="By the Docker engine of this machine; needs no account."),
    example="1.0 --dry-run",
)


def _read_policy(context: Context, *, file: Path = POLICY_FILE, **arguments: Any) -> Any:
    """Read what the person needs to be allowed, with the names of this project in the place of the placeholders."""
    bucket = context.memory.get("bucket") or arguments.get("name") or "BUCKET"
    text = file.read_text(encoding="utf-8").replace("REGION", context.settings.region)
    return json.loads(text.replace("NAME", context.settings.name).replace("BUCKET", bucket))


def _open(*, dry_run: bool, yes: bool, overrides: Sequence[str]) -> Context:
    def ask(question: str) -> None:
        if not yes and not click.confirm(question):
            raise UsageError("nothing was done. (--yes answers for you.)")

    home = Path(os.environ.get(HOME_VARIABLE) or repository())
    # A dry run's standard output is JSON and nothing else.
    say = partial(click.echo, err=dry_run)
    return Context(settings=load_settings(overrides), home=home, say=say, ask=ask, dry_run=dry_run)


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


def _end(number: int, _: object) -> None:
    """Leave through every `finally`: no ssh stays behind and holds the tunnel's port."""
    with suppress(OSError):
        os.write(2, b"aws_setup.sh: terminated\n")  # sys.stderr may be in the middle of a line
    sys.exit(128 + number)
