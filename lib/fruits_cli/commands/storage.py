"""Sub-commands that bring, bundle and remove files."""

from collections.abc import Sequence
from pathlib import Path

import click

from fruits import folders
from fruits.params import load_params
from fruits_cli.completion import Mode
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


@command("fruits pack ~/Photos packed", "fruits run --images packed")
@click.argument("input_dir", metavar="INPUT", type=click.Path(path_type=str))
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=str))
def pack(input_dir: str, output_dir: str) -> None:
    """Bundle the images of a folder into a few Parquet files.

    INPUT holds the images. A run takes OUT in the place of INPUT.
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
