"""Exceptions of Spark, Java and the system become one sentence."""

import errno

import pytest
from pyspark.errors import PySparkException

from fruits.errors import FruitsError, describe_cell_error, describe_exception, explain_failures, strip_controls

TRACE = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "x.py", line 1, in predict
ValueError: broken model
  at org.apache.spark.Something
Caused by: java.lang.RuntimeException: again
"""
FULL = "the disk is full: free some space"
NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/out/pca.csv")
JAVA_TRACE = "An error occurred while calling o405.load.\n: org.apache.hadoop.X.InvalidInputException: gone"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TRACE, "baking failed: ValueError: broken model"),
        ("Job aborted\njava.io.IOException: No space left on device", f"baking failed: {FULL}"),
        ("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)", "baking failed: its worker"),
        ("java.io.IOException: Mkdirs failed", "baking failed: java.io.IOException: Mkdirs failed"),
        (JAVA_TRACE, "baking failed: org.apache.hadoop.X.InvalidInputException: gone"),
        ("x\nfruits.errors.FruitsError: /f.parquet is damaged", "baking failed: /f.parquet is damaged"),
        ("odd", "baking failed: odd"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "baking failed: Spark's Java process is gone"),
        (NO_SPACE, "baking failed: the disk that holds /out/pca.csv is full"),
    ],
)
def test_failure_is_explained_in_one_sentence(text: str | Exception, sentence: str) -> None:
    with pytest.raises(FruitsError) as caught, explain_failures("baking"):
        raise PySparkException(text) if isinstance(text, str) else text
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raised", [KeyError("x"), FileNotFoundError(errno.ENOENT, "gone"), KeyboardInterrupt()])
def test_other_exceptions_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)), explain_failures("baking"):
        raise raised


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("FruitsError", "PCA needs at least 2 images, got 1", "PCA needs at least 2 images, got 1"),
        ("UsageError", "seed = x\nmode = y", "seed = x\nmode = y"),
        ("ValueError", "\x1b[0;31mbroken\x1b[0m\x1b[K\nhere", "ValueError: broken"),
        ("KeyError", "", "KeyError"),
        ("ParseException", "[PARSE] near 'x'.\n== SQL ==\nselect x", "ParseException: [PARSE] near 'x'"),
        ("Py4JJavaError", f"{JAVA_TRACE}\n{TRACE}", "Py4JJavaError: ValueError: broken model"),
        ("ValueError", "x\nValueError: broken model", "ValueError: broken model"),
        ("OSError", "[Errno 28] No space left on device", f"OSError: {FULL}"),
        ("MemoryError", "", "there is not enough memory"),
    ],
)
def test_cell_error_is_one_sentence(name: str, text: str, sentence: str) -> None:
    said = describe_cell_error(name, text)
    assert said.startswith(sentence)
    assert len(said) < len(sentence) + 150
    assert ("\n" in said) == (name == "UsageError")


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (OSError(errno.EIO, "Input/output error", "/mnt/x"), "/mnt/x: Input/output error; check the folders"),
        (OSError("cannot identify\nit"), "unexpected OSError: cannot identify."),
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (NO_SPACE, "the disk that holds /out/pca.csv is full"),
        (MemoryError(), "there is not enough memory (ulimit -v?): allow more, or lower batch_size."),
        (KeyError(), "unexpected KeyError."),
        (RecursionError("maximum recursion depth"), "unexpected RecursionError: maximum recursion depth."),
    ],
)
def test_unexpected_exception_is_one_sentence(raised: Exception, sentence: str) -> None:
    said = describe_exception(raised)
    assert said.startswith(sentence)
    assert "\n" not in said


def test_packages_of_another_python_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ImportError("Error importing numpy: you should not\ntry")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert describe_exception(error) == "unexpected ImportError: Error importing numpy: you should not."
    monkeypatch.setenv("PYTHONPATH", "/opt/other")
    assert describe_exception(error).endswith(" PYTHONPATH=/opt/other may hold packages of another Python: unset it.")


def test_text_of_other_machines_cannot_change_a_terminal() -> None:
    written = "a\x1b[1;31mred\x1b[0m\tb\r\n\x1b]0;title\x07x\x1b]8;;a\x1b\\y\x1b]0;no end\nz\x1bcé\x9b2J\x1b\x1b[2J"
    assert strip_controls(written) == "ared\tb\nxy\nzé"
