"""The list of screenshots, in French: what it says of this repository is so."""

import re

import click
import pytest
from conftest import REPOSITORY
from emr import context, tunnel
from emr.cli import cli as aws
from emr.settings import load_settings

from fruits_cli.cli import cli as fruits

TEXT = (REPOSITORY / "documentation" / "SCREENSHOTS.fr.md").read_text(encoding="utf-8")
SPANS = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)))
TEMPLATES = "".join(file.read_text() for file in (REPOSITORY / "emr" / "templates").glob("*.yaml"))
FOLDERS = (context.RAW, context.FEATURES, context.CODE, context.REPORTS, context.LOGS, context.JUPYTER)


@pytest.mark.parametrize(("program", "commands"), [("aws_setup.sh", aws.commands), ("fruits", fruits.commands)])
def test_its_commands_exist(program: str, commands: dict[str, click.Command]) -> None:
    named = re.findall(rf"(?:^|`){program} ([a-z-]+)", TEXT, re.MULTILINE)
    assert named
    assert set(named) <= commands.keys()


def test_what_is_made_on_aws_has_the_names_that_it_says() -> None:
    name = load_settings([]).name
    resources = {span.removeprefix(name) for span in SPANS if re.fullmatch(rf"{name}-[a-z-]+", span)} - {"-base"}
    assert resources >= {"-emr-service", "-emr-node", "-hard-stop"}
    assert [made for made in resources if f"${{Name}}{made}" not in TEMPLATES] == []
    for said in ("install the Python environment", "TlsOnly", "EMR primary node"):
        assert said in SPANS
        assert said in TEMPLATES


def test_its_folders_region_and_addresses_are_those_of_the_commands() -> None:
    folders = {span for span in SPANS if re.fullmatch(r"(code|logs|reports|jupyter|data/raw|data/features)/", span)}
    assert folders == set(FOLDERS)
    assert load_settings([]).region in SPANS
    spark = {f"http://localhost:{port}" for port in (tunnel.HISTORY, tunnel.LIVE)}
    addresses = re.findall(r"\w+://localhost:\d+", TEXT)
    assert set(addresses) == {f"https://localhost:{tunnel.PORT}", *spark}
    assert context.HUB_USER in SPANS


def test_names_of_files_are_in_the_order_of_the_list_and_can_be_names_everywhere() -> None:
    names = re.findall(r"^\| `([^`]+)`", TEXT, re.MULTILINE)
    assert names == sorted(set(names))
    assert [name for name in names if not re.fullmatch(r"\d\d [\w -]+\.png", name)] == []


def test_it_has_french_typography() -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|\*[^*\n]+\*|https?://\S+", "", TEXT, flags=re.DOTALL)
    assert not re.search(r"'|(?<!\u202f)[;?!](?=\s)|(?<![\u00a0-])[:](?=\s|$)", prose)
