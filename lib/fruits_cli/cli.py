"""The command `fruits`; its sub-commands are in `commands`."""

import click

from fruits import __version__
from fruits_cli.commands import guidance, pages, runs, storage
from fruits_cli.completion import register_shells
from fruits_cli.process import run_command

_COMMANDS = (
    *(runs.run, runs.evaluate, runs.project, runs.neighbours, runs.deliver),
    *(pages.report, pages.reports, pages.compare, pages.history),
    *(storage.fetch, storage.pack, storage.clean),
    *(guidance.doctor, guidance.keys, guidance.completion),
)
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


@click.group(
    commands=_COMMANDS,
    context_settings=_SETTINGS,
    epilog="`fruits doctor` says what is missing, `fruits COMMAND --help` shows examples.",
)
@click.version_option(__version__, prog_name="fruits")
def cli() -> None:
    """Folders of images to features of a neural network to principal components, on Spark."""


def main() -> None:
    """Run the command line; for its exit codes see `process.run_command`."""
    register_shells()
    run_command(cli)
