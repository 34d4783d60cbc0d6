"""docker/Dockerfile as its instructions: what the tests of it and `make rehearse-image` read."""

import re
from string import Template
from typing import NamedTuple

from fruits.params import repository

FOLDER = repository() / "docker"
DIGEST = f"sha256:{'0' * 64}"


class Instruction(NamedTuple):
    """A word such as RUN and what follows it; the name of its stage, empty before the first."""

    stage: str
    word: str
    rest: str


def read_dockerfile() -> list[Instruction]:
    """Split the Dockerfile into instructions, each on one line."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", "")
    found, stage = [], ""
    for line in filter(None, text.splitlines()):
        word, rest = re.sub(r"\s+", " ", line).split(" ", 1)
        stage = rest.rpartition(" AS ")[2] if word == "FROM" else stage
        found.append(Instruction(stage, word, rest))
    return found


def list_stages(target: str) -> list[str]:
    """Return the stages that a target is made of, the base image's first."""
    bases = {entry.stage: entry.rest.partition(" ")[0] for entry in read_dockerfile() if entry.word == "FROM"}
    return [*(list_stages(bases[target]) if bases[target] in bases else []), target]


def read_settings(rest: str, *, known: dict[str, str]) -> dict[str, str]:
    """Read `NAME=VALUE ...` of an ENV or LABEL."""
    pairs = re.findall(r'([\w.]+)=("[^"]*"|\S+)', rest)
    return {name: Template(value.strip('"')).safe_substitute(known) for name, value in pairs}
