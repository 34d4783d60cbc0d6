"""Sub-commands that run the pipeline, and that use what a run has made."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fruits import folders
from fruits.params import RunParams
from fruits.redaction import redact_secrets
from fruits_cli.completion import Mode, Run
from fruits_cli.options import AGAINST, MODEL, SET, command, split_settings, target_option
from fruits_cli.process import tell, when_stopped


@command(
    "fruits run MINI",
    "fruits run APPLES --target local --set pca_components=50",
    "fruits run --images ~/Photos --name photos",
)
@click.argument("mode", required=False, type=Mode())
@click.option("--images", metavar="FOLDER", type=click.Path(), help="Run on images below FOLDER; without MODE on all.")
@click.option("--name", help="What the results are called. [default: MODE; with --images FOLDER's name]")
@target_option(default=None, said="sample; with --images local")
@AGAINST
@SET
@click.option("--fresh", is_flag=True, help="Compute all features anew; stored ones are neither used nor deleted.")
@click.option("--replace", is_flag=True, help="Replace results of another target, input, choice of images or model.")
def run(settings: Sequence[str], against: str, fresh: bool, replace: bool, **choice: str | None) -> None:
    """Run the pipeline in MODE and write its report."""
    if not (choice["mode"] or choice["images"]):
        raise click.UsageError("Missing argument 'MODE', or --images FOLDER.")
    from fruits_cli.choice import choose_params

    flags = {"fresh": fresh, "replace": replace}
    overrides = split_settings(settings) | {key: "true" for key, value in flags.items() if value}
    overrides |= {"against": against} if against else {}
    params, notes = choose_params(settings=overrides, **choice)
    _run(params, notes)


@command("fruits evaluate APPLES --target local", "fruits evaluate APPLES --target local --against Test")
@click.argument("run_name", metavar="MODE", type=Run())
@AGAINST
@target_option(default="sample")
@SET
def evaluate(run_name: str, against: str, target: str, settings: Sequence[str]) -> None:
    """Measure how well a finished run tells images apart.

    The report is written anew. MODE is a mode or the name of a run.
    """
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
    from fruits_cli.kernel import private_kernel

    began = datetime.now(UTC)

    def describe() -> str:
        from fruits_cli.summary import describe_stop

        return describe_stop(params.path("output_dir"), began=began, fresh=params.fresh)

    with when_stopped(describe), private_kernel() as kernel:
        from fruits_cli.run import run_pipeline  # it takes half a second, in which the kernel starts

        report = run_pipeline(params, kernel=kernel, say=say)
    from fruits_cli.summary import describe_run

    manifest = json.loads(report.with_name("manifest.json").read_text(encoding="utf-8"))
    took = time.monotonic() - started
    lines = describe_run(manifest, results_dir=params.results_dir, report=report, seconds=took)
    click.echo(redact_secrets("\n".join(lines)))


@command(
    "fruits project APPLES photo.jpg holidays/",
    "fruits project data/APPLES holidays/ --output projected",
)
@MODEL
@click.argument("images", nargs=-1, required=True, type=click.Path())
@target_option(default="local")
@SET
@click.option("--output", type=click.Path(), help="Folder of the tables. [default: projected/MODEL beside the results]")
def project(model: str, images: Sequence[str], target: str, settings: Sequence[str], output: str | None) -> None:
    """Apply the PCA of a run to new images.

    IMAGES are files or folders; what they resemble is shown. MODEL is a mode, the name of a run, or a results folder.
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


@command("fruits neighbours APPLES photo.jpg --count 5")
@MODEL
@click.argument("image", type=click.Path())
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="Classes and images to show.")
@target_option(default="local")
@SET
def neighbours(model: str, image: str, count: int, target: str, settings: Sequence[str]) -> None:
    """Show the classes and images of a run nearest to an image.

    MODEL is a mode, the name of a run, or a results folder.
    """
    from fruits_cli.project import find_images, load_saved, project_images

    found = find_images([image])
    if len(found) != 1:
        raise click.UsageError(f"{image} holds {len(found)} images; name one, or use `fruits project` for all of them.")
    saved = load_saved(model, target=target, settings=split_settings(settings))
    table = project_images(saved, found, count=count).neighbours
    click.echo(redact_secrets(table.drop(columns="path").to_string(index=False, float_format="{:.3g}".format)))


@command("fruits deliver APPLES --target local --author 'Ada Lovelace' --lang fr")
@click.argument("run_name", metavar="MODE", type=Run())
@click.option("--author", required=True, metavar="NAME", help="Who hands it in, such as 'Ada Lovelace'.")
@click.option("--lang", "language", type=click.Choice(("en", "fr")), default="en", show_default=True)
@click.option("--screenshots", metavar="FOLDER", type=click.Path(path_type=Path), help="Pictures to add to the images.")
@target_option(default="sample")
@SET
def deliver(run_name: str, settings: Sequence[str], **options: Any) -> None:
    """Make the three files that are handed in.

    They are the notebook, the images and the presentation of a finished run. MODE is a mode or the name of a run.
    """
    from fruits_cli.deliver.handover import deliver_run

    for file in deliver_run(run_name, settings=split_settings(settings), say=tell, **options):
        click.echo(redact_secrets(str(file)))
