"""The Python of a Livy session: a line of JSON in is a statement's code, a line of JSON out its answer.

The answers are Livy's, with its oddities: a magic that fails is an answer that is `ok`, and what a failing statement
has printed is told with the next that does not fail, which is the driver's own, so nobody hears of it.
"""

import ast
import base64
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

Answer = dict[str, Any]

_FILE = "<stdin>"
# The namespace of the user's code; a bare one, so `__name__` is "builtins", as in Livy.
_NAMES: dict[str, Any] = {}


def main() -> None:
    requests, answers = sys.stdin, sys.stdout
    sys.stdin = io.StringIO()
    _capture()
    _connect(_NAMES)
    _capture()
    _write(answers, "READY")
    for line in requests:
        _write(answers, json.dumps(execute(json.loads(line)["code"])))


def execute(code: str) -> Answer:
    """Run a statement, and answer what it showed and printed, or the exception."""
    try:
        parts = _cut(code)
    except SyntaxError as error:
        return _fail(error)
    shown: Answer = {}
    try:
        for part in parts:
            shown = part() or {}
    except BaseException as error:
        return _fail(error)
    printed = "".join(stream.getvalue() for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.StringIO))
    _capture()
    text = printed.rstrip()
    if text or not shown:
        shown["text/plain"] = text
    return {"status": "ok", "data": shown}


def _cut(code: str) -> list[Callable[[], Answer | None]]:
    """Take code as Python; if it is none, lines that begin with % are magics between pieces of Python."""
    try:
        return [_prepare(code)]
    except SyntaxError:
        pieces: list[str] = []
        for line in code.rstrip().split("\n"):
            if line.startswith("%") or not pieces or pieces[-1].startswith("%"):
                pieces.append(line)
            else:
                pieces[-1] += f"\n{line}"
        return [_find_magic(piece) if piece.startswith("%") else _prepare(piece) for piece in pieces]


def _prepare(code: str) -> Callable[[], None]:
    body = ast.parse(code, _FILE).body

    def run() -> None:
        # Only the last statement echoes.
        for node in body[:-1]:
            exec(compile(ast.Module([node], []), _FILE, "exec", dont_inherit=True), _NAMES)  # noqa: S102
        for node in body[-1:]:
            exec(compile(ast.Interactive([node]), _FILE, "single", dont_inherit=True), _NAMES)  # noqa: S102

    return run


class UnknownMagic(Exception):  # noqa: N818 - Livy's name, which users see
    """A line that begins with % and with no word that Livy knows."""


def _find_magic(line: str) -> Callable[[], Answer]:
    word, _, name = line[1:].partition(" ")

    def run() -> Answer:
        if word not in _MAGICS:
            raise UnknownMagic(f"unknown magic command '{word}'" if word else "magic command not specified")
        try:
            return _MAGICS[word](_NAMES[name])
        except Exception as error:
            return {"msg_type": "execute_reply", "content": _fail(error)}

    return run


def _matplot(pyplot: Any) -> Answer:
    stream = io.BytesIO()
    pyplot.gcf().savefig(stream, format="png")
    return {"image/png": base64.b64encode(stream.getvalue()).decode()}


_MAGICS: dict[str, Callable[[Any], Answer]] = {"matplot": _matplot, "json": lambda value: {"application/json": value}}


def _fail(error: BaseException) -> Answer:
    # What is not Python has no frames.
    frames = None if isinstance(error, SyntaxError | UnknownMagic) else error.__traceback__
    lines = traceback.format_exception(type(error), error, frames, chain=False)
    # The first frames are this file's and the statement's own.
    own = next((number for number, line in enumerate(lines) if line.lstrip().startswith(f'File "{_FILE}"')), 0)
    if own and "in <module>" in lines[own]:
        lines = [lines[0], *lines[own + 1 :]]
    print("".join(lines), file=sys.__stderr__)
    return {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": lines}


def _connect(names: dict[str, Any]) -> None:
    """Give the user `sc`, `spark` and `sqlContext`, by the gateway of the driver's JVM."""
    from py4j.java_gateway import GatewayParameters, JavaGateway, java_import
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession, SQLContext

    port, secret = int(os.environ["PYSPARK_GATEWAY_PORT"]), os.environ["PYSPARK_GATEWAY_SECRET"]
    # Not the pinned threads of pyspark's own shell: Livy opens a gateway of the old kind.
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=secret, auto_convert=True))
    for name in ("api.java.*", "api.python.*", "mllib.api.python.*", "SparkConf", "sql.*", "sql.hive.*"):
        java_import(gateway.jvm, f"org.apache.spark.{name}")
    java_import(gateway.jvm, "scala.Tuple2")
    context = gateway.entry_point.sc()
    names["sc"] = SparkContext(jsc=context, gateway=gateway, conf=SparkConf(_jvm=gateway.jvm, _jconf=context.getConf()))
    names["spark"] = SparkSession(names["sc"], gateway.entry_point.sparkSession())
    names["sqlContext"] = SQLContext(names["sc"], names["spark"])


def _capture() -> None:
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()


def _write(answers: TextIO, line: str) -> None:
    answers.write(f"{line}\n")
    answers.flush()


if __name__ == "__main__":
    main()
