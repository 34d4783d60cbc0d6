"""What sub-commands share: the form of their help, their options and arguments."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fruits.params import TARGETS, RunParams, list_modes, load_params
from fruits_cli.completion import Mode, Run, Setting
from fruits_cli.keys import describe_modes

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Command(click.Command):
    """A sub-command whose help ends with the modes, if it takes one, and with examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what comes after the options."""
        modes = describe_modes() if any(isinstance(param.type, Mode) for param in self.params) else {}
        if modes:
            with formatter.section("Modes, the files in params/"):
                formatter.write_dl([*modes.items()])
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def command(*examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Return the decorator that makes a sub-command of a function; its help shows the examples."""
    return click.command(cls=Command, examples=examples)


def target_option(*, default: str | None, said: str | bool = True) -> Callable[[_Function], _Function]:
    """Return the option `--target`."""
    return click.option(
        "--target", default=default, show_default=said, type=click.Choice(TARGETS), help="Where: params/TARGET.yaml."
    )


SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    type=Setting(),
    help="Override a parameter: text as it is; numbers, lists, true and false as in YAML. Repeatable. `fruits keys` "
    "lists the keys, with their meaning, value and unit.",
)


AGAINST = click.option(
    "--against", default="", metavar="SPLIT", help="Test on SPLIT. [default: Test for Training, Training for Test]"
)


MODEL = click.argument("model", type=Run())


def split_settings(settings: Sequence[str]) -> dict[str, str]:
    """Return the values of `--set` by their names; click.UsageError for one that has none."""
    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip():
            raise click.UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set max_images=10")
        pairs[key.strip()] = value
    return pairs


def load_target(target: str, settings: Sequence[str]) -> RunParams:
    """Return parameters with the folders of a target, which are the same for any mode."""
    return load_params(list_modes()[0], target, split_settings(settings))
