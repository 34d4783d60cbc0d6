"""The command `fruits`: one function a sub-command, each a skin over one call."""

import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from fruits import __version__, folders
from fruits.errors import FruitsError, describe_exception
from fruits.params import TARGETS, list_modes, load_params
from fruits.redaction import redact_secrets
from fruits_cli.streams import open_outputs

# They change the meaning of other people's code: warnings that raise, assertions and docstrings that are gone.
_MEDDLING = {"PYTHONWARNINGS", "PYTHONOPTIMIZE"}
_STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal is gone"}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _target_option(*, default: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--target", default=default, show_default=True, type=click.Choice(TARGETS), help="Where: params/TARGET.yaml."
    )


_SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a parameter: text as it is; numbers, lists, true and false as in YAML. Repeatable.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fruits")
def cli() -> None:
    """Folders of fruit images to MobileNetV2 features to principal components, on Spark."""


@cli.command()
@click.argument("mode")
@_target_option(default="sample")
@_SET
@click.option("--fresh", is_flag=True, help="Compute all features anew; stored ones are neither used nor deleted.")
@click.option("--replace", is_flag=True, help="Replace results of another target, input, choice of images or model.")
def run(mode: str, target: str, settings: Sequence[str], fresh: bool, replace: bool) -> None:
    """Run the pipeline in MODE (a file in params/) and write its report."""
    flags = {"fresh": fresh, "replace": replace}
    overrides = _split_settings(settings) | {key: "true" for key, value in flags.items() if value}
    params = load_params(mode, target, overrides)
    started = time.monotonic()

    def say(sentence: str) -> None:
        _say(f"{time.monotonic() - started:5.0f} s  {sentence}")

    say(f"{mode}, target {target}: first checks")
    from fruits_cli.run import run_pipeline
    from fruits_cli.summary import describe_run, describe_stop

    began = datetime.now(UTC)
    with _when_stopped(lambda: describe_stop(params.path("output_dir"), began=began, fresh=fresh)):
        report = run_pipeline(params, say=say)
    manifest = json.loads(report.with_name("manifest.json").read_text(encoding="utf-8"))
    took = time.monotonic() - started
    lines = describe_run(manifest, results_dir=params.results_dir, report=report, seconds=took)
    click.echo(redact_secrets("\n".join(lines)))


@cli.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="The page. [default: NOTEBOOK with the suffix .html]")
def report(notebook: Path, output: Path | None) -> None:
    """Render an executed NOTEBOOK, by papermill or by hand, as an HTML page for readers."""
    from fruits_cli.html import write_page

    page = (output or notebook.with_suffix(".html")).absolute()
    write_page(notebook.absolute(), page)
    _say(f"the page is {page}")


@cli.command()
@click.argument("mode")
@_target_option(default="local")
@_SET
@click.option("--zip", "archive", type=click.Path(path_type=Path), help="Take the images from an archive on disk.")
def fetch(mode: str, target: str, settings: Sequence[str], archive: Path | None) -> None:
    """Bring the images that MODE needs out of the public archive of Fruits-360."""
    params = load_params(mode, target, _split_settings(settings))
    from fruits.preflight import check_apart
    from fruits_cli.fetch import ARCHIVE_URL, fetch_images

    check_apart(params)
    with _when_stopped(lambda: "the images fetched so far are kept; the same command goes on where it stopped"):
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
@click.argument("input_dir", metavar="INPUT", type=click.Path(path_type=str))
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=str))
def pack(input_dir: str, output_dir: str) -> None:
    """Bundle the class folders of INPUT into a few Parquet shards in OUT, which may then be an `input_dir`."""
    from fruits_cli.pack import pack_images

    source, packed = (folders.resolve(folder, base=Path.cwd()) for folder in (input_dir, output_dir))
    with _when_stopped(lambda: f"{packed} stays as it was; the same command starts from the beginning"):
        report = pack_images(source, packed)
    for path in report.unreadable:
        click.echo(f"fruits: {path} could not be read; a run will make it an error row", err=True)
    click.echo(f"{report.images} images packed into {report.shards} shards, {report.bytes / 2**20:.1f} MiB: {packed}")


@cli.command()
@_target_option(default="sample")
@_SET
@click.option("--yes", is_flag=True, help="Delete; without it the command only shows what it would delete.")
def clean(target: str, settings: Sequence[str], yes: bool) -> None:
    """Show, and with --yes delete, what runs that died left behind: unfinished batches, drafts, parts of files."""
    # Any mode does: the folders are the target's.
    params = load_params(list_modes()[0], target, _split_settings(settings))
    from fruits_cli.leftovers import find_leftovers, measure, remove_leftovers

    found = find_leftovers(params)
    size = measure(found) / 2**20
    for entry in remove_leftovers(params) if yes else found:
        click.echo(entry)
    done = "deleted" if yes else "would be deleted; add --yes to delete them" if found else "to delete"
    click.echo(f"{len(found)} leftovers, {size:.1f} MiB, {done}.")


def _say(sentence: str) -> None:
    click.echo(redact_secrets(f"fruits: {sentence}"))


def _complain(sentence: str) -> None:
    click.echo(redact_secrets(f"fruits: {sentence}"), err=True)


def _split_settings(settings: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip():
            raise click.UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set max_images=10")
        pairs[key.strip()] = value
    return pairs


def main() -> None:
    """Run the command line.

    Exit 0, 1 for a failure, 2 for wrong usage, 128 + its number for a signal: 129 for a terminal that is gone, 130
    for Ctrl-C, 143 for SIGTERM.
    """
    if os.environ.keys() & _MEDDLING:
        environ = {name: value for name, value in os.environ.items() if name not in _MEDDLING}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - this very program
    open_outputs()
    for number in _STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(redact_secrets(said.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        sys.exit(130)
    except FruitsError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except Exception as error:  # whatever it is, a person reads a sentence
        _complain(f"{describe_exception(error)}{_keep_trace(error)}")
        sys.exit(1)


def _end(number: int, _: FrameType | None) -> None:
    """Leave through every `finally`: the kernel and Spark are stopped on the way."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes away may say so twice
    # A progress bar ends without a line break.
    click.echo(("\n" if sys.stderr.isatty() else "") + f"fruits: {_STOPS[signal.Signals(number)]}", err=True)
    sys.exit(128 + number)


@contextmanager
def _when_stopped(tell: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        with suppress(Exception):  # the exit code stays that of the signal
            _complain(tell())
        raise


def _keep_trace(error: Exception) -> str:
    """Write the traceback into a temporary file, and return the sentence that names it; none if the disk is full."""
    text = redact_secrets("".join(traceback.format_exception(error)))
    with suppress(Exception), tempfile.NamedTemporaryFile("wb", prefix="fruits-", suffix=".log", delete=False) as log:
        log.write(text.encode(errors="backslashreplace"))
        return f" Trace: {log.name}"
    return ""
