"""What Spark, the JVM or the disk died of, in one sentence."""

import errno

import pytest
from pyspark.errors import PySparkException

from fruits.errors import FruitsError
from fruits.failures import describe_cell_error, describe_surprise, explain_failures

TRACE = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "x.py", line 1, in predict
ValueError: broken model
  at org.apache.spark.Something
Caused by: java.lang.RuntimeException: again
"""


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (PySparkException(TRACE), "baking failed: ValueError: broken model"),
        (PySparkException("Job aborted\njava.io.IOException: No space left on device"), "the disk is full: make room"),
        (
            PySparkException("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)"),
            "worker proce",
        ),
        (PySparkException("java.io.IOException: Mkdirs failed"), "baking failed: java.io.IOException: Mkdirs failed"),
        (
            PySparkException(
                "An error occurred while calling o405.load.\n: org.apache.hadoop.X.InvalidInputException: gone"
            ),
            "baking failed: org.apache.hadoop.X.InvalidInputException: gone",
        ),
        (
            PySparkException("x\nfruits.errors.FruitsError: /f.parquet is damaged"),
            "baking failed: /f.parquet is damaged",
        ),
        (PySparkException("odd"), "baking failed: odd"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "Spark's Java process is gone"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/pca.csv"), "the disk that holds /out/pca.csv is full"),
    ],
)
def test_causes_come_in_a_sentence(raised: Exception, sentence: str) -> None:
    with pytest.raises(FruitsError) as caught, explain_failures("baking"):
        raise raised
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raised", [KeyError("x"), FileNotFoundError(errno.ENOENT, "gone"), KeyboardInterrupt()])
def test_other_errors_pass(raised: BaseException) -> None:
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
        (
            "Py4JJavaError",
            f"An error occurred while calling o1.save.\n: java.io.X\n{TRACE}",
            "Py4JJavaError: ValueError: broken model",
        ),
        ("ValueError", "x\nValueError: broken model", "ValueError: broken model"),
        ("OSError", "[Errno 28] No space left on device", "OSError: the disk is full: make room"),
        ("MemoryError", "", "there is not enough memory"),
    ],
)
def test_a_failed_cell_says_one_sentence(name: str, text: str, sentence: str) -> None:
    said = describe_cell_error(name, text)
    assert said.startswith(sentence)
    assert len(said) < len(sentence) + 150
    assert ("\n" in said) == (name == "UsageError")


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (OSError(errno.EIO, "Input/output error", "/mnt/x"), "/mnt/x: Input/output error; check the folders"),
        (OSError("cannot identify\nit"), "unexpected OSError: cannot identify."),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: make room"),
        (MemoryError(), "there is not enough memory (ulimit -v?): allow more, or lower batch_size."),
        (KeyError(), "unexpected KeyError."),
        (
            RecursionError("maximum recursion depth exceeded"),
            "unexpected RecursionError: maximum recursion depth exceeded.",
        ),
    ],
)
def test_a_surprise_is_a_sentence(raised: Exception, sentence: str) -> None:
    said = describe_surprise(raised)
    assert said.startswith(sentence)
    assert "\n" not in said
