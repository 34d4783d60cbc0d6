"""Sub-commands that help people: what is missing, what may be set, what a shell completes."""

import json
from collections.abc import Sequence

import click

from fruits.errors import FruitsError
from fruits.redaction import redact_secrets
from fruits_cli.completion import SHELLS, Mode, write_script
from fruits_cli.keys import list_keys
from fruits_cli.options import SET, command, split_settings, target_option


@command("fruits doctor", "fruits doctor APPLES --target local", "fruits doctor --aws --json")
@click.argument("mode", default="MINI", type=Mode())
@target_option(default="sample")
@SET
@click.option("--aws", is_flag=True, help="Look at the AWS account, too, if the target does not use it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: ok, and name, status, found and cure of each check.")
def doctor(mode: str, target: str, settings: Sequence[str], aws: bool, as_json: bool) -> None:
    """Say what a run needs and what of it is missing.

    MODE is by default MINI. Exit 0 if all that the target needs is there, else 1.
    """
    from fruits_cli.doctor import examine

    checks = []
    for check in examine(mode, target, split_settings(settings), account=aws):
        checks.append(check)
        if not as_json:
            click.echo(redact_secrets(str(check)))
    missing = [check.name for check in checks if check.status == "missing"]
    if as_json:
        found = {"ok": not missing, "checks": [check._asdict() for check in checks]}
        click.echo(redact_secrets(json.dumps(found, indent=2, ensure_ascii=False)))
    if missing:
        raise FruitsError(f"missing for target {target}: {', '.join(missing)}. Each check says what to do.")


@command("fruits keys", "fruits keys APPLES --target local")
@click.argument("mode", default="MINI", type=Mode())
@target_option(default="sample")
@SET
def keys(mode: str, target: str, settings: Sequence[str]) -> None:
    """List the keys of --set: value, meaning, what is allowed.

    The values are those of MODE, by default MINI, and of the target.
    """
    formatter = click.get_current_context().make_formatter()
    for file, rows in list_keys(mode, target, split_settings(settings)):
        with formatter.section(file):
            formatter.write_dl(rows)
    click.echo(formatter.getvalue().strip("\n"))


@command('eval "$(fruits completion bash)"', "fruits completion fish | source")
@click.argument("shell", type=click.Choice([*SHELLS]))
def completion(shell: str) -> None:
    """Print the script for completion by Tab in a shell.

    `fruits` must be on the PATH: `source .venv/bin/activate`. A line in the start-up file of the shell keeps it.
    """
    click.echo(write_script(shell))
