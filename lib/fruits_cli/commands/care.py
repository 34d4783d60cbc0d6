"""Sub-commands that bring images, keep folders clean, and help people."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from fruits import folders
from fruits.errors import FruitsError
from fruits.params import load_params
from fruits.redaction import redact_secrets
from fruits_cli.completion import SHELLS, Mode, write_script
from fruits_cli.options import SET, command, load_target, split_settings, target_option
from fruits_cli.process import when_stopped


@command("fruits fetch APPLES", "fruits fetch FULL --zip fruits.zip --set split=Test")
@click.argument("mode", type=Mode())
@target_option(default="local")
@SET
@click.option("--zip", "archive", type=click.Path(path_type=Path), help="Take the images from an archive on disk.")
def fetch(mode: str, target: str, settings: Sequence[str], archive: Path | None) -> None:
    """Bring the images that MODE needs from the public archive."""
    params = load_params(mode, target, split_settings(settings))
    from fruits.preflight import check_apart
    from fruits_cli.fetch import ARCHIVE_URL, fetch_images

    check_apart(params)
    with when_stopped(lambda: "the images fetched so far are kept; the same command goes on where it stopped"):
        report = fetch_images(
            params.path("input_dir"),
            split=params.split,
            classes=params.classes,
            archive=archive or ARCHIVE_URL,
            max_images=params.max_images,
            seed=params.seed,
        )
    there = report.wanted - report.fetched
    click.echo(f"{report.wanted} images wanted, {there} were there, {report.fetched} fetched.")
    click.echo(f"Images: {params.path('input_dir') / params.split}")


@command("fruits pack ~/Photos packed", "fruits run MINI --target local --set input_dir=packed")
@click.argument("input_dir", metavar="INPUT", type=click.Path(path_type=str))
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=str))
def pack(input_dir: str, output_dir: str) -> None:
    """Bundle the images of a folder into a few Parquet files.

    INPUT holds the images; OUT may then be an `input_dir`.
    """
    from fruits_cli.pack import pack_images

    source, packed = (folders.resolve(folder, base=Path.cwd()) for folder in (input_dir, output_dir))
    with when_stopped(lambda: f"{packed} stays as it was; the same command starts from the beginning"):
        report = pack_images(source, packed)
    for path in report.unreadable:
        click.echo(f"fruits: {path} could not be read; a run will make it an error row", err=True)
    click.echo(f"{report.images} images packed into {report.shards} shards, {report.bytes / 2**20:.1f} MiB: {packed}")


@command("fruits clean --target local", "fruits clean --target local --yes")
@target_option(default="sample")
@SET
@click.option("--yes", is_flag=True, help="Delete; without it the command only shows what it would delete.")
def clean(target: str, settings: Sequence[str], yes: bool) -> None:
    """Show, or delete, what runs that died left behind.

    These are unfinished batches, drafts and parts of files.
    """
    params = load_target(target, settings)
    from fruits_cli.leftovers import find_leftovers, measure, remove_leftovers

    found = find_leftovers(params)
    size = measure(found) / 2**20
    for entry in remove_leftovers(params) if yes else found:
        click.echo(entry)
    done = "deleted" if yes else "would be deleted; add --yes to delete them" if found else "to delete"
    click.echo(f"{len(found)} leftovers, {size:.1f} MiB, {done}.")


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
        raise FruitsError(f"missing for target {target}: {', '.join(missing)}; do what stands behind the arrows.")


@command("fruits keys", "fruits keys APPLES --target local")
@click.argument("mode", default="MINI", type=Mode())
@target_option(default="sample")
@SET
def keys(mode: str, target: str, settings: Sequence[str]) -> None:
    """List the keys of --set: value, meaning, what is allowed.

    The values are those of MODE, by default MINI, and of the target.
    """
    from fruits_cli.keys import list_keys

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
