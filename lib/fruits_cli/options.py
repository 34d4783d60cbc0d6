"""Options and arguments that several sub-commands have."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fruits.params import TARGETS

_Command = TypeVar("_Command", bound=Callable[..., Any])


def target_option(*, default: str | None, said: str | bool = True) -> Callable[[_Command], _Command]:
    """Return the option `--target`."""
    return click.option(
        "--target", default=default, show_default=said, type=click.Choice(TARGETS), help="Where: params/TARGET.yaml."
    )


SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a parameter: text as it is; numbers, lists, true and false as in YAML. Repeatable.",
)


AGAINST = click.option(
    "--against", default="", metavar="SPLIT", help="Test on SPLIT. [default: Test for Training, Training for Test]"
)


MODEL = click.argument("model")


def split_settings(settings: Sequence[str]) -> dict[str, str]:
    """Return the values of `--set` by their names; click.UsageError for one that has none."""
    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip():
            raise click.UsageError(f"--set {setting}: allowed: KEY=VALUE, such as --set max_images=10")
        pairs[key.strip()] = value
    return pairs
