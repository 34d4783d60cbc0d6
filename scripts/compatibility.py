"""Try other Pythons and Sparks: `make test-matrix`, or `make test-matrix CELL=3.12-4.1.4` for one of them anew.

Each pair has a folder in `.matrix/` with an environment, a log, and its result: pairs that have one are not tried
again. The table of results is documentation/COMPATIBILITY.md, where pairs that were not tried keep their rows.
"""

import os
import re
import subprocess
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import click

from fruits.params import find_repository

PYTHONS = ("3.11", "3.12", "3.13")
# That of the lock, then the newest of each later series but one.
SPARKS = ("3.5.8", "4.0.5", "4.1.4", "4.3.0")
# What differs between Sparks, in the order of `make test`: that of eventlog counts the tasks that others kill.
TESTS = ("arrow", "eventlog", "extraction", "pca_model", "progress", "session", "store", "udf")
SECONDS = 3600
_ROW = re.compile(r"\| (\d\.\d+) \| (\d\S+) \| .*")
_CAUSE = re.compile(r"(FAILED|ERROR) |fruits: |error: |\s*(×|╰─▶|Because) |.*Error: ")
_HEAD = """\
# Pythons and Sparks

Made by `make test-matrix` (scripts/compatibility.py). For each pair an environment is built from the pins of
`pyproject.toml`, with another Spark; then `fruits run MINI` and these files of tests run:
{tests}.
`requirements.lock` has Spark 3.5.8, which is that of EMR 7; `make env` takes Python 3.11. For another one:
`rm -rf .venv && make env PYTHON=3.12`. The machine is Linux on x86_64 with Java 17. The project sets
`spark.sql.ansi.enabled` to false on every Spark; the default of Spark 4 is true.

| Python | Spark | `fruits run MINI` | tests | tried on |
|---|---|---|---|---|
"""


@click.command()
@click.argument("pair", required=False)
def run_matrix(pair: str | None) -> None:
    """Try all pairs of Python and Spark, or one PAIR such as 3.12-4.1.4 anew; write the table after each."""
    os.chdir(find_repository() or ".")
    cells = [f"{python}-{spark}" for python, spark in product(PYTHONS, SPARKS)]
    if pair and pair not in cells:
        raise click.UsageError(f"{pair} is no pair of this matrix; allowed: {', '.join(cells)}.")
    for cell in [pair] if pair else cells:
        folder = Path(".matrix", cell)
        if pair or not (folder / "result").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "log").unlink(missing_ok=True)
            click.echo(f"{datetime.now(UTC):%H:%M} {cell} ... ", nl=False)
            found = " | ".join(try_cell(cell, folder).values())
            (folder / "result").write_text(f"{found} | {datetime.now(UTC):%Y-%m-%d}")
        click.echo(f"{cell}: {(folder / 'result').read_text()}")
        write_table()


def try_cell(cell: str, folder: Path) -> dict[str, str]:
    """Build the environment of a pair, run the sample and the tests in it; return "holds" or why not for each."""
    found = {"run": "not tried", "tests": "not tried"}
    for step, command in list_commands(cell, folder).items():
        started = time.monotonic()
        failure = run_step(f"{step}: {' '.join(map(str, command))}", command, log=folder / "log")
        click.echo(f"{step} {time.monotonic() - started:.0f} s, ", nl=False)
        if step in found:
            found[step] = failure or "holds"
        elif failure:
            found["run"] = f"{failure} ({step})"
            break
    return found


def run_step(name: str, command: list[str | Path], *, log: Path) -> str | None:
    """Run a command that writes to a log; return why it failed, by the last line that tells."""
    with log.open("a") as stream:
        stream.write(f"\n== {name}\n")
        stream.flush()
        try:
            done = subprocess.run(command, stdout=stream, stderr=stream, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"fails: took more than {SECONDS} s"
    if done.returncode == 0:
        return None
    lines = log.read_text(errors="replace").split("\n== ")[-1].splitlines()
    causes = [line for line in lines if _CAUSE.match(line)] or [f"exit {done.returncode}"]
    return "fails: " + " ".join(causes[-1].split()).replace("|", "/")[:200]


def list_commands(cell: str, folder: Path) -> dict[str, list[str | Path]]:
    """Return the commands of a pair by the names of their steps."""
    python, spark = cell.split("-")
    uv, environment, program = Path(".venv/bin/uv"), folder / "venv", folder / "venv/bin/python"
    (folder / "override.txt").write_text(f"pyspark=={spark}\n")
    locks = "".join(Path(name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))
    pins = re.findall(r"^(?!pyspark|py4j)[a-z0-9._-]+==.*(?= \\$)", locks, re.MULTILINE)
    (folder / "constraints.txt").write_text("\n".join(pins))
    wanted = ["--requirement", "pyproject.toml", "--extra", "aws", "--group", "installers", "--group", "dev"]
    limits: list[str | Path] = ["--override", folder / "override.txt", "--constraints", folder / "constraints.txt"]
    folders = [f"--set={key}={folder.absolute() / key}" for key in ("input_dir", "output_dir", "report_dir")]
    return {
        "Python": [uv, "venv", "--quiet", "--allow-existing", "--python", python, environment],
        "packages": [uv, "pip", "install", "--quiet", "--python", environment, *wanted, *limits],
        "project": [program, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."],
        "run": [environment / "bin/fruits", "run", "MINI", "--fresh", *folders],
        "tests": [program, "-m", "pytest", *(f"tests/test_{name}.py" for name in TESTS)],
    }


def write_table() -> None:
    """Write COMPATIBILITY.md: results of this folder, else the rows that it has, else "not tried"."""
    document = Path("documentation/COMPATIBILITY.md")
    before = document.read_text() if document.is_file() else ""
    rows = {match.groups(): match[0] for match in map(_ROW.fullmatch, before.splitlines()) if match}
    for pair in product(PYTHONS, SPARKS):
        result = Path(".matrix", "-".join(pair), "result")
        if result.is_file():
            rows[pair] = f"| {' | '.join(pair)} | {result.read_text()} |"
    lines = [rows.get(pair, f"| {' | '.join(pair)} | not tried | not tried | |") for pair in product(PYTHONS, SPARKS)]
    head = _HEAD.format(tests=", ".join(f"`{name}`" for name in TESTS))
    document.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_matrix()
