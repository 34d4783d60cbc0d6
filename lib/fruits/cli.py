"""The command `fruits`: one function a sub-command, each a skin over one call."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from fruits import __version__, storage
from fruits.errors import FruitsError
from fruits.params import TARGETS, load_params

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _target_option(*, default: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--target", default=default, show_default=True, type=click.Choice(TARGETS), help="Where: params/TARGET.yaml."
    )


_SET = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a parameter; VALUE is YAML. Repeatable."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fruits")
def cli() -> None:
    """Folders of fruit images to MobileNetV2 features to principal components, on Spark."""


@cli.command()
@click.argument("mode")
@_target_option(default="sample")
@_SET
@click.option("--replace", is_flag=True, help="Overwrite results that another target or input made.")
def run(mode: str, target: str, settings: Sequence[str], replace: bool) -> None:
    """Run the pipeline in MODE (a file in params/) and write its report."""
    overrides = _split_settings(settings) | ({"replace": "true"} if replace else {})
    params = load_params(mode, target, overrides)
    from fruits.reporting.run import run_pipeline

    report = run_pipeline(params)
    click.echo(f"Results: {params.results_dir}")
    click.echo(f"Report:  {report}")


@cli.command()
@click.argument("mode")
@_target_option(default="local")
@_SET
@click.option("--zip", "archive", type=click.Path(path_type=Path), help="Take the images from an archive on disk.")
def fetch(mode: str, target: str, settings: Sequence[str], archive: Path | None) -> None:
    """Bring the images that MODE needs out of the public archive of Fruits-360."""
    params = load_params(mode, target, _split_settings(settings))
    from fruits.images.fetch import ARCHIVE_URL, fetch_images

    report = fetch_images(
        params.path("input_dir"),
        split=params.split,
        classes=params.classes,
        archive=archive or ARCHIVE_URL,
        max_images=params.max_images,
        seed=params.seed,
    )
    click.echo(f"{report.wanted} images wanted, {report.already_there} were there, {report.fetched} fetched.")
    click.echo(f"Images: {params.path('input_dir') / params.split}")


@cli.command()
@click.argument("input_dir", metavar="INPUT", type=click.Path(path_type=str))
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=str))
def pack(input_dir: str, output_dir: str) -> None:
    """Bundle the class folders of INPUT into a few Parquet shards in OUT, which may then be an `input_dir`."""
    from fruits.images.pack import pack_images

    source, packed = (storage.resolve(folder, base=Path.cwd()) for folder in (input_dir, output_dir))
    report = pack_images(source, packed)
    for path in report.unreadable:
        click.echo(f"fruits: {path} could not be read; a run will make it an error row", err=True)
    click.echo(f"{report.images} images packed into {report.shards} shards, {report.bytes / 2**20:.1f} MiB: {packed}")


def _split_settings(settings: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip():
            raise click.UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set max_images=10")
        pairs[key.strip()] = value
    return pairs


def main() -> None:
    """Run the command line: exit 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FruitsError as error:
        click.echo(f"fruits: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fruits: interrupted", err=True)
        sys.exit(130)
