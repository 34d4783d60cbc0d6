"""A progress bar for a Spark job, from the running counts that Spark's executors report anyway."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Queries that are looked at each time, the last ones: an extraction runs some twenty at once, FULL has a hundred.
_LATEST = 64
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
    counter = _Counter(store)
    stop = threading.Event()
    # The bar is one line of standard output, in a terminal, in Jupyter and in the executed notebook alike.
    with tqdm(
        total=total, unit=" images", file=sys.stdout, mininterval=every, ncols=BAR_COLUMNS, bar_format=_FORMAT
    ) as bar:

        def look_on() -> None:
            with suppress(Py4JError, ConnectionError):  # a JVM that died is for the block to say
                while not stop.wait(every):
                    _advance(bar, min(total, counter.count_rows()))

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


class _Counter:
    """Adds up what the queries put out that start after it was made; those that have ended are read once."""

    def __init__(self, store: Any) -> None:
        self.store = store
        # All queries before it have ended, or are not ours.
        self.first = 0
        self.first = max((number + 1 for number, _ in self._list_latest()), default=0)
        self.metrics: dict[int, list[int]] = {}
        self.rows: dict[int, int] = {}

    def count_rows(self) -> int:
        """Return the rows by now; 0 while Spark has not reported yet."""
        latest = dict(self._list_latest())
        self.rows |= {number: self._read_rows(number) for number in latest}
        running = [number for number, ended in latest.items() if not ended]
        self.first = min(running, default=max([self.first, *(number + 1 for number in latest)]))
        return sum(self.rows.values())

    def _list_latest(self) -> Iterator[tuple[int, bool]]:
        """Yield the latest queries, and whether they have ended; each question to the JVM takes a tenth of a ms."""
        latest = self.store.executionsList(max(0, self.store.executionsCount() - _LATEST), _LATEST)
        for index in reversed(range(latest.size())):
            query = latest.apply(index)
            if (number := query.executionId()) < self.first:
                return
            yield number, query.completionTime().isDefined()

    def _read_rows(self, query: int) -> int:
        if not self.metrics.get(query):
            self.metrics[query] = _find_metrics(self.store.planGraph(query).allNodes())
        values = self.store.executionMetrics(query)
        texts = [values.get(metric) for metric in self.metrics[query]]
        return sum(int(text.get().replace(",", "")) for text in texts if text.isDefined())


def _find_metrics(nodes: Any) -> list[int]:
    """Return the accumulators in which the nodes of `mapInArrow` count rows; none before the query is planned."""
    found = []
    for node in map(nodes.apply, range(nodes.size())):
        if node.name().endswith(_NODE):
            metrics = map(node.metrics().apply, range(node.metrics().size()))
            found += [metric.accumulatorId() for metric in metrics if metric.name() == _METRIC]
    return found
