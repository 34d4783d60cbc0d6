"""What the help says: examples that the command takes, the modes, the keys of `--set` with their values."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from emr.cli import cli as aws

from fruits.params import KEYS, TARGETS, list_modes, load_params
from fruits_cli import keys
from fruits_cli.cli import cli

COMMANDS = sorted(cli.commands)


def get_help(command: click.Group, *words: str) -> str:
    done = CliRunner().invoke(command, [*words, "--help"], prog_name="fruits", terminal_width=120)
    assert done.exit_code == 0, done.output
    return done.output


def parse(command: click.Group, words: list[str]) -> click.Context:
    """Parse a command line as the command does, without running it."""
    outer = command.make_context("fruits", [*words], resilient_parsing=False)
    name, found, rest = command.resolve_command(outer, words)
    assert found is not None
    return found.make_context(name, rest, parent=outer)


def list_examples() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        _, said, examples = get_help(cli, name).partition("\nExamples:\n")
        assert said, f"{name} has no example"
        yield from ((name, match) for match in re.findall(r"\bfruits [^|)\n]*", examples))


@pytest.mark.parametrize(("name", "example"), [*list_examples()])
def test_every_example_is_a_command_line_that_is_taken(name: str, example: str) -> None:
    words = shlex.split(example)[1:]
    params = parse(cli, words).params
    assert words[0] in COMMANDS
    assert params.get("mode") in {None, *list_modes()}
    assert {setting.partition("=")[0] for setting in params.get("settings", ())} <= KEYS.keys()
    assert name == words[0] or name == "pack"  # what is packed is then run


@pytest.mark.parametrize("name", sorted(aws.commands))
def test_every_command_of_aws_has_an_example_that_is_taken(name: str) -> None:
    if name != "help":
        _, _, example = get_help(aws, name).rpartition("Example: scripts/aws_setup.sh ")
        assert shlex.split(example)[0] == name
        parse(aws, shlex.split(example))


def test_a_damaged_file_of_a_mode_hides_no_other_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("BAD", b"\xff\xfe"), ("GOOD", b"# All of it.\nmode: GOOD\n")):
        (tmp_path / "params").mkdir(exist_ok=True)
        (tmp_path / "params" / f"{name}.yaml").write_bytes(content)
    monkeypatch.setattr(keys, "repository", lambda: tmp_path)
    monkeypatch.setattr(keys, "list_modes", lambda: ["BAD", "GOOD"])
    assert keys.describe_modes() == {"BAD": "", "GOOD": "All of it."}


@pytest.mark.parametrize("name", ["run", "evaluate", "deliver", "fetch", "project", "compare", "doctor", "keys"])
def test_help_lists_the_modes_as_their_files_describe_them(name: str) -> None:
    said = " ".join(get_help(cli, name).split())
    assert "MINI Try-out: 100 apples, the same ones every time, spread evenly over the classes." in said
    assert all(f" {mode} " in said for mode in list_modes())


def test_help_is_there_without_params(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fruits.params.find_repository", lambda: None)
    assert "Examples:" in get_help(cli, "run")
    assert "Modes" not in get_help(cli, "run")
    (tmp_path / "params").mkdir()
    monkeypatch.setattr("fruits.params.find_repository", lambda: tmp_path)
    assert "Modes" not in get_help(cli, "run")
    (tmp_path / "params/BARE.yaml").write_text("mode: BARE\n")
    assert re.search(r"^  BARE *$", get_help(cli, "run"), re.MULTILINE)


def ask_keys(*words: str) -> dict[str, str]:
    """Return what `fruits keys` says of each `key=value`."""
    done = CliRunner().invoke(cli, ["keys", *words], terminal_width=2000)
    assert done.exit_code == 0, done.output
    said: dict[str, str] = {}
    for line in done.output.splitlines():
        if match := re.match(r"  (\w+=.*?)(?:  +(.*))?$", line):
            name, said[match[1]] = match[1], match[2] or ""
        elif line.startswith("   "):
            said[name] += line.strip()
    return said


@pytest.mark.parametrize(("mode", "target"), [(mode, target) for mode in list_modes() for target in TARGETS[:2]])
def test_keys_have_their_values_and_what_is_allowed(mode: str, target: str) -> None:
    said = ask_keys(mode, "--target", target)
    assert [line.partition("=")[0] for line in said] == [key for key in KEYS if key not in ("mode", "target")]
    # What is shown may be typed after --set.
    settings = dict(line.split("=", 1) for line in said)
    taken = load_params("MINI", target, settings)
    assert taken == dataclasses.replace(load_params(mode, target), mode="MINI")
    assert all(f"allowed: {KEYS[line.partition('=')[0]].metadata['allowed']}" in text for line, text in said.items())


def test_keys_say_where_a_value_is_from_and_its_unit() -> None:
    said = ask_keys("APPLES", "--set", "seed=3")
    assert "which images, and the untrained weights" in said["seed=3"]
    assert said["seed=3"].endswith("; by --set")
    assert said["against="].endswith("; not in the file: the default")
    assert said["input_size=0"].startswith("pixels; 0: the size of the backbone; allowed:")
    assert "a worker takes 0.2 GB more" in said["driver_memory=2g"]
    done = CliRunner().invoke(cli, ["keys"])
    assert [line for line in done.output.splitlines() if line.startswith("params")] == [
        "params/MINI.yaml:",
        "params/sample.yaml:",
    ]
