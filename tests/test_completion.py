"""What a shell offers after Tab: by click's own interface for each shell, and in a real bash."""

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner
from conftest import put

from fruits.params import KEYS, list_modes
from fruits_cli import completion
from fruits_cli.cli import cli

SLOW = ("numpy", "pandas", "pyarrow", "pyspark", "tensorflow", "botocore", "PIL", "upath", "matplotlib")


def offer(monkeypatch: pytest.MonkeyPatch, line: str, *, kind: str = "bash") -> list[str]:
    """Return what a shell is told for a line that is typed so far."""
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", words[-1] if kind == "fish" else str(len(words) - 1))
    return completion.SHELLS[kind](cli, {}, "fruits", "_FRUITS_COMPLETE").complete().splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fruits ne", ["neighbours"]),
        ("fruits run ", list_modes()),
        ("fruits run M", ["MINI"]),
        ("fruits run --set seed=1 M", ["MINI"]),  # bash takes the = for the end of a word
        ("fruits run MINI --target ", ["sample", "local", "emr"]),
        ("fruits run MINI --target=lo", ["local"]),
        ("fruits run MINI --set ba", ["batch_size=", "backbone="]),
        ("fruits run MINI --set ", [f"{key}=" for key in KEYS if key not in ("mode", "target")]),
        ("fruits run MINI --fr", ["--fresh"]),
        ("fruits completion ", ["bash", "zsh", "fish"]),
        ("fruits compare MINI AP", ["APPLES"]),
        ("fruits fetch 'M", ["MINI"]),
    ],
)
def test_bash_is_offered_what_may_follow(monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]) -> None:
    assert offer(monkeypatch, line) == [f"plain,{name}" for name in offered]


def test_zsh_and_fish_are_told_what_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "One class: 492 images in Fruits-360."
    assert offer(monkeypatch, "fruits run S", kind="zsh") == ["plain", "SINGLE_CLASS", said]
    assert offer(monkeypatch, "fruits run S", kind="fish") == [f"plain,SINGLE_CLASS\t{said}"]
    assert offer(monkeypatch, "fruits run MINI --set see", kind="zsh")[1:] == [
        "seed=",
        "an integer from 0 to 2**32 - 1",
    ]


@pytest.mark.parametrize("command", ["evaluate", "deliver", "project", "neighbours", "compare"])
def test_names_of_runs_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    (tmp_path / "params").mkdir()
    for name in ("MINI", "local"):
        text = Path(__file__).parents[1].joinpath(f"params/{name}.yaml").read_text()
        (tmp_path / f"params/{name}.yaml").write_text(text)
    monkeypatch.setattr("fruits.params.find_repository", lambda: tmp_path)
    put(tmp_path / "reports/local", "my_photos/manifest.json", "MINI/manifest.json", "unfinished/run.failed.ipynb")
    assert offer(monkeypatch, f"fruits {command} --target local ") == ["plain,MINI", "plain,my_photos"]
    (tmp_path / "params/local.yaml").write_text("[")
    assert offer(monkeypatch, f"fruits {command} --target local ") == ["plain,MINI"]


def test_nothing_slow_is_imported() -> None:
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from fruits_cli.cli import main; main()"
    environ = os.environ | {"COMP_WORDS": "fruits evaluate M", "COMP_CWORD": "2", "_FRUITS_COMPLETE": "bash_complete"}
    words = [sys.executable, "-c", f"import sys; sys.argv = ['fruits']; {code}"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "plain,MINI"
    assert not {*SLOW} & {*done.stdout.split()}


def test_a_real_bash_completes_modes_and_keys() -> None:
    """The dollar sign is typed after the Tab: it shows whether bash put a space there."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = os.environ | {"PATH": path, "TERM": "dumb", "PS1": "> ", "HISTFILE": "/dev/null", "INPUTRC": "/dev/null"}
    bash = pexpect.spawn("bash", ["--norc", "--noprofile", "-i"], env=environ, timeout=60, dimensions=(24, 160))
    try:
        bash.sendline('eval "$(fruits completion bash)"; echo rea""dy')
        bash.expect("ready")
        for typed, completed in (
            ("fruits run MI\t$", r"MINI \$"),
            ("fruits run MINI --set bat\t$", r"batch_size=\$"),
            ("true && fruits run MINI --target=lo\t$", r"--target=local \$"),
        ):
            bash.send(typed)
            bash.expect(completed)
            bash.send("\x15")  # Ctrl-U
    finally:
        bash.close(force=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_command(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert f"_FRUITS_COMPLETE={shell}_complete" in done.output
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2
