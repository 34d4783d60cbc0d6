"""Spark jobs that run at the same time, from threads of the driver."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pyspark import SparkContext

T = TypeVar("T")


def run_jobs(
    context: "SparkContext",
    jobs: Mapping[str, Callable[[], T]],
    *,
    at_once: int,
    finish: Callable[[Sequence["Future[T]"]], Any] | None = None,
) -> list[T]:
    """Call functions in threads, and return their results in order; the Spark jobs of all are in one job group.

    The first that fails cancels the others, and so does Ctrl-C, after `finish`. The keys describe the jobs on Spark's
    page.
    """
    from py4j.protocol import Py4JError
    from pyspark import inheritable_thread_target

    # The job group that is set: Livy counts its tasks for a cell's progress, and cancels it with the cell. Asked for
    # before other threads speak with the JVM: under Livy another thread of the JVM's may answer then.
    group = context.getLocalProperty("spark.jobGroup.id") or f"fruits-{uuid.uuid4().hex[:8]}"

    def run(name: str, job: Callable[[], T]) -> T:
        context.setJobGroup(group, name, interruptOnCancel=True)
        return job()

    with ThreadPoolExecutor(at_once) as pool:
        # The scheduler's pool is a property of the calling thread.
        futures = [pool.submit(inheritable_thread_target(run), *job) for job in jobs.items()]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if finish and isinstance(error, KeyboardInterrupt):
                finish(futures)
            with suppress(Py4JError, ConnectionError):  # if the JVM is what died
                while not all(future.done() for future in futures):  # one may begin a job after it was cancelled
                    context.cancelJobGroup(group)
                    time.sleep(0.1)
            raise
    return [future.result() for future in futures]


def keeps_threads(context: "SparkContext") -> bool:
    """Return whether each thread here has a thread of the JVM, which knows its job group; not so in Livy's session."""
    from py4j.clientserver import ClientServer

    return isinstance(context._gateway, ClientServer)
