"""A progress bar for a Spark job, from the running counts that Spark's executors report anyway."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# New queries are looked for among so many, the latest: an extraction has at most sixteen at once, FULL seventy in all,
# and each question to the JVM takes a tenth of a millisecond.
_LATEST = 32
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
    """Adds up what the queries put out that start after it was made; one that has ended is not asked again."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.rows = dict.fromkeys(self._list_latest(), 0)
        self.running: set[int] = set()
        self.metrics: dict[int, list[int]] = {}

    def count_rows(self) -> int:
        """Return the rows by now; 0 while Spark has not reported yet."""
        # A query has its number before it is planned, and is listed after that: lower numbers may come later.
        self.running |= self._list_latest() - self.rows.keys()
        for query in [*self.running]:
            found = self.store.execution(query)
            if found.isEmpty() or found.get().completionTime().isDefined():
                self.running.remove(query)
            if found.isDefined():
                self.rows[query] = self._read_rows(query)
        return sum(self.rows.values())

    def _list_latest(self) -> set[int]:
        latest = self.store.executionsList(max(0, self.store.executionsCount() - _LATEST), _LATEST)
        return {latest.apply(index).executionId() for index in range(latest.size())}

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
