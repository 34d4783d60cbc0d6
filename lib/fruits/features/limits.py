"""How long a worker waits for an image, and for a handful of them. Runs on the workers."""

import faulthandler
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Seconds for reading and decoding one image: a disk that sleeps takes 10, an S3 that throttles 30.
IMAGE_SECONDS = 60.0
# Seconds for a slice of images, the forward pass included: half a second on a slow core.
SLICE_SECONDS = 600.0
# Images without an answer, in one task, after which it is not the image that is at fault.
MOST_TIMEOUTS = 5


@contextmanager
def limit_image(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds; only in a main thread, where Spark runs its workers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(_: int, __: FrameType | None) -> NoReturn:
        raise TimeoutError(f"no answer in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def limit_slice(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer: what hangs in C code hears no signal. Spark tries the task again."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
