"""The weight-broadcast UDF: Arrow batches of image names in, Arrow batches of features out. Runs on the workers.

Spark carries names, not files: the worker that gets an image's row opens the file itself. Spark's own `binaryFile`
reader drops empty and hidden files without a word, reads glob signs and `label=` folders in names its own way, and
spends more processor time in the JVM than the decoding does.
"""

import faulthandler
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import pyarrow as pa

from fruits.arrow import to_column, to_lists, to_strings
from fruits.features.engines import Features, Predict
from fruits.images.decode import DecodeError, Pixels, decode_image
from fruits.images.rows import STORED, ErrorRow, arrow_schema, spark_schema
from fruits.images.source import ImageReader, read_as_listed, tag_of
from fruits.networks import DEFAULT, Network

if TYPE_CHECKING:
    from pyspark import Accumulator, SparkContext

    from fruits.features.model import Backbone


# What `Extractor.extract` yields.
SCHEMA = spark_schema(STORED)
# One predict function a worker process, kept from task to task; keyed by the model it belongs to.
_PREDICTORS: dict[str, Predict] = {}

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


@dataclass
class LocalErrors:
    """What Spark's accumulator of error rows is, in one process."""

    value: list[ErrorRow] = field(default_factory=list)

    def add(self, rows: list[ErrorRow]) -> None:
        """Add rows."""
        self.value += rows


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """What a worker needs to turn images into features: `images.mapInArrow(extractor.extract, SCHEMA)`.

    An object of an importable class rather than a nested function: cloudpickle would copy a nested function's
    globals into every task, and with them an empty `_PREDICTORS`.
    """

    model_id: str
    make_predict: Callable[[], Predict]
    source: ImageReader
    batch_size: int
    errors: "Accumulator[list[ErrorRow]] | LocalErrors"
    network: Network = DEFAULT
    image_seconds: float = IMAGE_SECONDS
    slice_seconds: float = SLICE_SECONDS
    stop: Path = field(default_factory=lambda: Path(tempfile.gettempdir(), f"fruits-stop-{uuid.uuid4().hex}"))

    @classmethod
    def of(cls, backbone: "Backbone", **options: Any) -> Self:
        """Make the extractor of a model; `options` are the fields that the model does not give."""
        return cls(model_id=backbone.model_id, network=backbone.network, **options)

    def extract(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the features of the images that can be decoded; note the others in `errors`.

        An exception of the model is not caught: a broken model fails the run, it makes no bad images. Neither is it
        the image's fault if `MOST_TIMEOUTS` images of a task give no answer. Once the file `stop` exists, the
        images that are left are passed over: the task ends with what it has.
        """
        timeouts: list[str] = []
        for batch in batches:
            for start in range(0, batch.num_rows, self.batch_size):
                if self.stop.exists():
                    continue
                with limit_slice(self.slice_seconds):
                    features = self._extract_slice(batch.slice(start, self.batch_size), timeouts)
                yield features

    def _predict(self, pixels: list[Pixels]) -> Features:
        if not pixels:
            return np.empty((0, self.network.features), np.float32)
        if self.model_id not in _PREDICTORS:
            _PREDICTORS.clear()
            _PREDICTORS[self.model_id] = self.make_predict()
        return _PREDICTORS[self.model_id](np.stack(pixels))

    def _extract_slice(self, rows: pa.RecordBatch, timeouts: list[str]) -> pa.RecordBatch:
        pixels, kept, digests = [], [], []
        for index, row in enumerate(rows.to_pylist()):
            stage = "read"
            try:
                with limit_image(self.image_seconds):
                    content, digest = self._read(row)
                    stage = "decode"
                    pixels.append(decode_image(content, size=self.network.size))
                kept.append(index)
                digests.append(digest)
            except TimeoutError as error:
                timeouts.append(row["path"])
                if len(timeouts) == MOST_TIMEOUTS:
                    raise RuntimeError(f"{', '.join(timeouts)}: {error}; is the disk or the network there?") from error
                self.errors.add([ErrorRow(row["path"], stage, str(error))])
            except (OSError, DecodeError) as error:
                self.errors.add([ErrorRow(row["path"], stage, _give_reason(error))])
            except MemoryError as error:
                raise MemoryError(f"{row['path']!r}: {str(error) or f'no memory to {stage} it'}") from error
        if len(kept) < rows.num_rows:
            rows = rows.take(to_column(np.array(kept, np.int64)))
        return _to_batch(rows, digests, self._predict(pixels), length=self.network.features)

    def _read(self, row: dict[str, Any]) -> tuple[bytes, str]:
        return read_as_listed(self.source, row["path"], length=row["length"], digest=row["digest"])


def _give_reason(error: OSError | DecodeError) -> str:
    """Return one line without the path, which the error row has already."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())


def _to_batch(rows: pa.RecordBatch, digests: list[str], features: Features, *, length: int) -> pa.RecordBatch:
    if features.shape != (rows.num_rows, length) or not np.isfinite(features).all():
        raise ValueError(
            f"the model gave features of shape {features.shape} for {rows.num_rows} images, or values that are not "
            f"finite; allowed: ({rows.num_rows}, {length}), finite. Check the weights."
        )
    tags = map(tag_of, rows.column("digest").to_pylist())
    computed = {"digest": to_strings(digests), "etag": to_strings(tags), "features": to_lists(features)}
    columns = [computed[name] if name in computed else rows.column(name) for name in STORED]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(STORED))


def collect_errors(context: "SparkContext") -> "Accumulator[list[ErrorRow]]":
    """Return an accumulator of error rows.

    Spark counts an accumulator once for each task of an action, so the rows are right after one write of the
    extracted DataFrame; transforming it further without writing it would compute and count it again.
    """
    from pyspark.accumulators import AccumulatorParam

    class ListParam(AccumulatorParam[list[Any]]):
        def zero(self, value: list[Any]) -> list[Any]:
            return []

        def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:  # noqa: N802 - Spark's name
            value1 += value2  # a copy for each of a hundred thousand tasks would take hours
            return value1

    return context.accumulator([], ListParam())
