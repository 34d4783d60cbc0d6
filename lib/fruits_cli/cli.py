"""The command `fruits`: one function a sub-command, each a skin over one call."""

import json
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fruits import __version__, folders
from fruits.params import RunParams, list_modes, load_params
from fruits.redaction import redact_secrets
from fruits_cli.options import AGAINST, MODEL, SET, split_settings, target_option
from fruits_cli.process import run_command, tell, when_stopped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fruits")
def cli() -> None:
    """Folders of images to features of a neural network to principal components, on Spark."""


@cli.command()
@click.argument("mode", required=False)
@click.option("--images", metavar="FOLDER", help="Run on the images below FOLDER; without MODE on all of them.")
@click.option("--name", help="What the results are called. [default: MODE; with --images FOLDER's name]")
@target_option(default=None, said="sample; with --images local")
@AGAINST
@SET
@click.option("--fresh", is_flag=True, help="Compute all features anew; stored ones are neither used nor deleted.")
@click.option("--replace", is_flag=True, help="Replace results of another target, input, choice of images or model.")
def run(settings: Sequence[str], against: str, fresh: bool, replace: bool, **choice: str | None) -> None:
    """Run the pipeline in MODE (a file in params/) and write its report."""
    if not (choice["mode"] or choice["images"]):
        raise click.UsageError("Missing argument 'MODE', or --images FOLDER.")
    from fruits_cli.choice import choose_params

    flags = {"fresh": fresh, "replace": replace}
    overrides = split_settings(settings) | {key: "true" for key, value in flags.items() if value}
    overrides |= {"against": against} if against else {}
    params, notes = choose_params(settings=overrides, **choice)
    _run(params, notes)


@cli.command()
@click.argument("run_name", metavar="MODE")
@AGAINST
@target_option(default="sample")
@SET
def evaluate(run_name: str, against: str, target: str, settings: Sequence[str]) -> None:
    """Measure how well a finished run, of MODE or of a name, tells images apart, and write its report anew."""
    from fruits_cli.choice import read_stored_params

    _run(read_stored_params(run_name, target=target, against=against, settings=split_settings(settings)), [])


def _run(params: RunParams, notes: Sequence[str]) -> None:
    """Run the pipeline, and say on the terminal what it did."""
    started = time.monotonic()

    def say(sentence: str) -> None:
        tell(f"{time.monotonic() - started:5.0f} s  {sentence}")

    say(f"{params.title}, target {params.target}: first checks")
    for note in notes:
        say(note)
    from fruits_cli.run import run_pipeline
    from fruits_cli.summary import describe_run, describe_stop

    began = datetime.now(UTC)
    with when_stopped(lambda: describe_stop(params.path("output_dir"), began=began, fresh=params.fresh)):
        report = run_pipeline(params, say=say)
    manifest = json.loads(report.with_name("manifest.json").read_text(encoding="utf-8"))
    took = time.monotonic() - started
    lines = describe_run(manifest, results_dir=params.results_dir, report=report, seconds=took)
    click.echo(redact_secrets("\n".join(lines)))


@cli.command()
@click.argument("run_name", metavar="MODE")
@click.option("--author", required=True, metavar="NAME", help="Who hands it in, such as 'Ada Lovelace'.")
@click.option("--lang", "language", type=click.Choice(("en", "fr")), default="en", show_default=True)
@click.option("--screenshots", metavar="FOLDER", type=click.Path(path_type=Path), help="Pictures to add to the images.")
@target_option(default="sample")
@SET
def deliver(run_name: str, settings: Sequence[str], **options: Any) -> None:
    """Make the notebook, the images and the presentation that are handed in, of a finished run of MODE or of a name."""
    from fruits_cli.deliver.handover import deliver_run

    for file in deliver_run(run_name, settings=split_settings(settings), say=tell, **options):
        click.echo(redact_secrets(str(file)))


@cli.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The page. [default: NOTEBOOK with the suffix .html]")
def report(notebook: Path, output: Path | None) -> None:
    """Render an executed NOTEBOOK, by papermill or by hand, as an HTML page for readers."""
    from fruits_cli.html import write_page

    page = (output or notebook.with_suffix(".html")).absolute()
    write_page(notebook.absolute(), page)
    tell(f"the page is {page}")


@cli.command()
@target_option(default="sample")
@SET
def reports(target: str, settings: Sequence[str]) -> None:
    """Write the page that lists all reports of a target's report_dir, of every target: index.html there."""
    from fruits_cli.index import write_index

    tell(f"the page is {write_index(_load_target(target, settings).path('report_dir'))}")


@cli.command()
@click.argument("runs", nargs=-1)
@target_option(default="sample")
@SET
def compare(runs: Sequence[str], target: str, settings: Sequence[str]) -> None:
    """Compare RUNS side by side and in pairs: modes, names, manifests, folders of reports; by default all modes."""
    from fruits_cli.compare import compare_runs

    tell(f"the page is {compare_runs(runs, params=_load_target(target, settings), say=tell)}")


@cli.command()
@target_option(default="sample")
@SET
def history(target: str, settings: Sequence[str]) -> None:
    """Serve the event logs that reports of a target keep in Spark's History Server, on this machine, until Ctrl-C."""
    from fruits_cli.history import find_logs, serve_history

    logs = find_logs(_load_target(target, settings).path("report_dir") / target)
    with serve_history(logs) as address:
        tell(f"{len(logs)} run{'s' * (len(logs) != 1)}: {address} (Ctrl-C ends it)")
        signal.pause()


@cli.command()
@click.argument("mode")
@target_option(default="local")
@SET
@click.option("--zip", "archive", type=click.Path(path_type=Path), help="Take the images from an archive on disk.")
def fetch(mode: str, target: str, settings: Sequence[str], archive: Path | None) -> None:
    """Bring the images that MODE needs out of the public archive of Fruits-360."""
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


@cli.command()
@MODEL
@click.argument("images", nargs=-1, required=True)
@target_option(default="local")
@SET
@click.option("--output", help="Folder of the tables. [default: projected/MODEL beside the results]")
def project(model: str, images: Sequence[str], target: str, settings: Sequence[str], output: str | None) -> None:
    """Apply the PCA that a run saved to new IMAGES, files or folders, and show what they resemble.

    MODEL is a mode, the name of a run, or a results folder.
    """
    from fruits_cli.project import describe_neighbours, find_images, load_saved, project_images, save_projection

    found = find_images(images)
    saved = load_saved(model, target=target, settings=split_settings(settings))
    folder = saved.folder.parent / "projected" / saved.folder.name
    folder = folders.resolve(output, base=Path.cwd()) if output else folder
    done = project_images(saved, found)
    save_projection(done, folder, csv=saved.params.csv)
    click.echo(redact_secrets("\n".join(describe_neighbours(done, most=20))))
    there, lost = len(done.scores), len(done.errors)
    click.echo(redact_secrets(f"{len(found):,} images = {there:,} projected + {lost:,} errors: {folder}"))


@cli.command()
@MODEL
@click.argument("image")
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="Classes and images to show.")
@target_option(default="local")
@SET
def neighbours(model: str, image: str, count: int, target: str, settings: Sequence[str]) -> None:
    """Show the classes and images of a run that are nearest to IMAGE; MODEL is as in `project`."""
    from fruits_cli.project import find_images, load_saved, project_images

    found = find_images([image])
    if len(found) != 1:
        raise click.UsageError(f"{image} holds {len(found)} images; name one, or use `fruits project` for all of them.")
    saved = load_saved(model, target=target, settings=split_settings(settings))
    table = project_images(saved, found, count=count).neighbours
    click.echo(redact_secrets(table.drop(columns="path").to_string(index=False, float_format="{:.3g}".format)))


@cli.command()
@click.argument("input_dir", metavar="INPUT", type=click.Path(path_type=str))
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=str))
def pack(input_dir: str, output_dir: str) -> None:
    """Bundle the images of INPUT into a few Parquet shards in OUT, which may then be an `input_dir`."""
    from fruits_cli.pack import pack_images

    source, packed = (folders.resolve(folder, base=Path.cwd()) for folder in (input_dir, output_dir))
    with when_stopped(lambda: f"{packed} stays as it was; the same command starts from the beginning"):
        report = pack_images(source, packed)
    for path in report.unreadable:
        click.echo(f"fruits: {path} could not be read; a run will make it an error row", err=True)
    click.echo(f"{report.images} images packed into {report.shards} shards, {report.bytes / 2**20:.1f} MiB: {packed}")


@cli.command()
@target_option(default="sample")
@SET
@click.option("--yes", is_flag=True, help="Delete; without it the command only shows what it would delete.")
def clean(target: str, settings: Sequence[str], yes: bool) -> None:
    """Show, and with --yes delete, what runs that died left behind: unfinished batches, drafts, parts of files."""
    params = _load_target(target, settings)
    from fruits_cli.leftovers import find_leftovers, measure, remove_leftovers

    found = find_leftovers(params)
    size = measure(found) / 2**20
    for entry in remove_leftovers(params) if yes else found:
        click.echo(entry)
    done = "deleted" if yes else "would be deleted; add --yes to delete them" if found else "to delete"
    click.echo(f"{len(found)} leftovers, {size:.1f} MiB, {done}.")


def _load_target(target: str, settings: Sequence[str]) -> RunParams:
    """Return parameters with the folders of a target, which are the same for any mode."""
    return load_params(list_modes()[0], target, split_settings(settings))


def main() -> None:
    """Run the command line; for its exit codes see `process.run_command`."""
    run_command(cli)
