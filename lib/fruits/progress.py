"""A progress bar for a Spark job, from the running counts that Spark's executors report anyway."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What the bar is wide: one line of a small terminal.
BAR_COLUMNS = 79
# Its name in Spark 4; in 3.5 it is PythonMapInArrow.
_NODE, _METRIC = "MapInArrow", "number of output rows"
# tqdm's own, with a rate that is never turned round ("s/image").
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


@contextmanager
def track_rows(spark: "SparkSession", *, total: int, every: float = 1.0) -> Iterator[None]:
    """Show how many of `total` images the queries run in the block have put out, with rate and time left."""
    from py4j.protocol import Py4JError

    store = spark._jsparkSession.sharedState().statusStore()
    earlier = set(_list_executions(store))
    stop = threading.Event()
    # The bar is one line of standard output, in a terminal, in Jupyter and in the executed notebook alike.
    with tqdm(
        total=total, unit=" images", file=sys.stdout, mininterval=every, ncols=BAR_COLUMNS, bar_format=_FORMAT
    ) as bar:

        def look_on() -> None:
            with suppress(Py4JError, ConnectionError):  # a JVM that died is for the block to say
                while not stop.wait(every):
                    _advance(bar, min(total, _count_rows(store, earlier)))

        watcher = threading.Thread(target=look_on, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
        _advance(bar, total)


def _advance(bar: Any, count: int) -> None:
    if count > bar.n:
        bar.update(count - bar.n)


def _list_executions(store: Any) -> list[int]:
    executions = store.executionsList()
    return [executions.apply(index).executionId() for index in range(executions.size())]


def _count_rows(store: Any, earlier: set[int]) -> int:
    """Add up the metric over the plan nodes of `mapInArrow`; 0 while Spark has not reported yet."""
    count = 0
    for execution in set(_list_executions(store)) - earlier:
        values = store.executionMetrics(execution)
        nodes = store.planGraph(execution).allNodes()
        for position in range(nodes.size()):
            if nodes.apply(position).name().endswith(_NODE):
                count += _read_metric(nodes.apply(position).metrics(), values)
    return count


def _read_metric(metrics: Any, values: Any) -> int:
    for index in range(metrics.size()):
        if metrics.apply(index).name() == _METRIC:
            text = values.get(metrics.apply(index).accumulatorId())
            return int(text.get().replace(",", "")) if text.isDefined() else 0
    return 0
