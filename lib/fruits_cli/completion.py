"""What a shell offers after Tab, by click's own mechanism: modes, finished runs, keys of `--set`."""

import os
from contextlib import suppress
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from fruits.folders import as_folder
from fruits.local import LocalFolder
from fruits.params import KEYS, list_modes, load_params
from fruits_cli.keys import SETTABLE, describe_modes


class Mode(click.ParamType):
    """The name of a mode; its value is checked where it is used."""

    name = "mode"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the modes, with what their files say of them."""
        return [
            CompletionItem(name, help=said) for name, said in describe_modes().items() if name.startswith(incomplete)
        ]


class Run(Mode):
    """A mode, or the name of a run."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the modes, and the other runs of the target that have a report on this machine."""
        modes = super().shell_complete(ctx, param, incomplete)
        others = {*_list_runs(ctx.params.get("target"))} - {*describe_modes()}
        return [*modes, *(CompletionItem(name) for name in sorted(others) if name.startswith(incomplete))]


class Setting(click.ParamType):
    """A `KEY=VALUE` of `--set`."""

    name = "setting"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the keys, with what is allowed."""
        allowed = {f"{key}=": KEYS[key].metadata["allowed"] for key in SETTABLE}
        return [CompletionItem(key, help=said) for key, said in allowed.items() if key.startswith(incomplete)]


class _Bash(BashComplete):
    """Bash ends a word at `=`: so the line is taken whole, and a key gets no space behind its `=`."""

    source_template: ClassVar[str] = BashComplete.source_template.replace(
        "${COMP_WORDS[*]}", "${COMP_LINE:0:COMP_POINT}"
    ).replace("return 0", "[[ $COMPREPLY == *= ]] && compopt -o nospace\n    return 0")

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        return (words, "") if not words or line[-1].isspace() else (words[:-1], words[-1])


class _Zsh(ZshComplete):
    """A key gets no space behind its `=`."""

    source_template: ClassVar[str] = (
        ZshComplete.source_template.replace(
            'if [ -n "$completions_with_descriptions"',
            "[[ $response[2] == *= ]] && keys=(-S '')\n    if [ -n \"$completions_with_descriptions\"",
        )
        .replace("local -a response", "local -a response keys")
        .replace(" -U\n", ' -U "${keys[@]}"\n')
    )


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": FishComplete}


def register_shells() -> None:
    """Make click use what is here."""
    for name, shell in SHELLS.items():
        add_completion_class(shell, name)


def write_script(shell: str) -> str:
    """Return the script with which a shell completes the words of `fruits`."""
    return SHELLS[shell](click.Group(), {}, "fruits", "_FRUITS_COMPLETE").source()


def _list_runs(target: str | None) -> list[str]:
    """Return the names of a target's reports; none if they are in S3, where an answer takes seconds."""
    with suppress(Exception):
        place = as_folder(load_params(list_modes()[0], target or "sample").path("report_dir") / (target or "sample"))
        if isinstance(place, LocalFolder):
            return [name for name in place.list_folders() if (place.path / name / "manifest.json").is_file()]
    return []
