"""A worker does not wait for ever."""

import subprocess
import sys
import threading
import time

import pytest

from fruits.features.limits import limit_image


def test_an_image_that_gives_no_answer_times_out() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"), limit_image(0.1):
        time.sleep(30)
    assert time.monotonic() - started < 5
    with limit_image(0.05):
        pass
    time.sleep(0.1)  # the alarm is off


def test_another_thread_has_no_limit() -> None:
    done = []

    def work() -> None:
        with limit_image(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_what_hears_no_signal_ends_with_its_process() -> None:
    code = """
import signal, time
from fruits.features.limits import limit_image, limit_slice
with limit_slice(30):
    pass
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
with limit_slice(0.5), limit_image(0.1):
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "Timeout (0:00:00.500000)!" in done.stderr
