"""A check is one line, and a look ends in any case."""

import threading
import time

import pytest

from fruits.checks import Check, Look, take_look
from fruits.errors import FruitsError, UsageError


def fail(error: Exception) -> Look:
    def look() -> str:
        raise error

    return look


@pytest.mark.parametrize(
    ("look", "line"),
    [
        (lambda: "17", "[x] Java: 17"),
        (lambda: "", "[x] Java"),
        (lambda: Check("", "warning", "an old one", "get a new one"), "[?] Java: an old one  ->  get a new one"),
        (fail(FruitsError("none", cure="make env")), "[ ] Java: none  ->  make env"),
        (fail(UsageError("two\n  - lines.")), "[ ] Java: two - lines"),
        (
            fail(ModuleNotFoundError("No module named 'x'")),
            "[ ] Java: ModuleNotFoundError: No module named 'x'  ->  rm -f .venv/.ready && make env",
        ),
        (fail(KeyError("x")), "[ ] Java: unexpected KeyError: 'x'."),
    ],
)
def test_whatever_a_look_finds_is_one_line(look: Look, line: str) -> None:
    assert str(take_look("Java", look)) == line


def test_a_look_without_an_answer_is_left() -> None:
    began = time.monotonic()
    check = take_look("disk", lambda: str(threading.Event().wait(30)), seconds=0.05)
    assert str(check) == "[ ] disk: no answer in 0.05 s  ->  look for a disk or a network that hangs"
    assert time.monotonic() - began < 5
