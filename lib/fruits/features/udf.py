"""The weight-broadcast UDF: Arrow batches of images in, Arrow batches of features out.

Spark carries names, not files: the worker that gets an image's row opens the file itself. Spark's own
`binaryFile` reader drops empty and hidden files without a word, reads glob signs and `label=` folders in names
its own way, spends more processor time in the JVM than the decoding does, and cannot skip the 67,592 images that
a run does not want. Packed images are read the same way, by path, out of their shards (`PackedImages`).
"""

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fruits.arrow import to_column, to_lists, to_strings
from fruits.features import limits
from fruits.features.engines import Features, Predict
from fruits.features.model import FEATURES
from fruits.images.decode import DecodeError, Pixels, decode_image
from fruits.images.identity import tag_of
from fruits.images.rows import STORED, ErrorRow, arrow_schema, spark_schema
from fruits.images.source import ImageSource, read_as_listed

if TYPE_CHECKING:
    from pyspark import Accumulator, SparkContext
    from pyspark.sql import DataFrame

    ErrorRows = Accumulator[list[ErrorRow]]

# One predict function a worker process, kept from task to task; keyed by the model it belongs to.
_PREDICTORS: dict[str, Predict] = {}


def _name_stop() -> Path:
    return Path(tempfile.gettempdir()) / f"fruits-stop-{uuid.uuid4().hex}"


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """What a worker needs to turn images into features.

    An object of an importable class rather than a nested function: cloudpickle would copy a nested function's
    globals into every task, and with them an empty `_PREDICTORS`.
    """

    model_id: str
    make_predict: Callable[[], Predict]
    source: ImageSource
    batch_size: int
    errors: "ErrorRows"
    image_seconds: float = limits.IMAGE_SECONDS
    slice_seconds: float = limits.SLICE_SECONDS
    stop: Path = field(default_factory=_name_stop)

    def extract(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the features of the images that can be decoded; note the others in `errors`.

        An exception of the model is not caught: a broken model fails the run, it makes no bad images. Neither is it
        the image's fault if `limits.MOST_TIMEOUTS` images of a task give no answer. Once the file `stop` exists, the
        images that are left are passed over: the task ends with what it has.
        """
        timeouts: list[str] = []
        for batch in batches:
            for start in range(0, batch.num_rows, self.batch_size):
                if self.stop.exists():
                    continue
                with limits.limit_slice(self.slice_seconds):
                    features = self._extract_slice(batch.slice(start, self.batch_size), timeouts)
                yield features

    def _predict(self, pixels: list[Pixels]) -> Features:
        if not pixels:
            return np.empty((0, FEATURES), np.float32)
        if self.model_id not in _PREDICTORS:
            _PREDICTORS.clear()
            _PREDICTORS[self.model_id] = self.make_predict()
        return _PREDICTORS[self.model_id](np.stack(pixels))

    def _extract_slice(self, rows: pa.RecordBatch, timeouts: list[str]) -> pa.RecordBatch:
        pixels, kept, digests = [], [], []
        for index, row in enumerate(rows.to_pylist()):
            stage = "read"
            try:
                with limits.limit_image(self.image_seconds):
                    content, digest = self._read(row)
                    stage = "decode"
                    pixels.append(decode_image(content))
                kept.append(index)
                digests.append(digest)
            except TimeoutError as error:
                timeouts.append(row["path"])
                if len(timeouts) == limits.MOST_TIMEOUTS:
                    raise RuntimeError(f"{', '.join(timeouts)}: {error}; is the disk or the network there?") from error
                self.errors.add([ErrorRow(row["path"], stage, str(error))])
            except (OSError, DecodeError) as error:
                self.errors.add([ErrorRow(row["path"], stage, _give_reason(error))])
            except MemoryError as error:
                raise MemoryError(f"{row['path']!r}: {str(error) or f'no memory to {stage} it'}") from error
        if len(kept) < rows.num_rows:
            rows = rows.take(to_column(np.array(kept, np.int64)))
        return _to_batch(rows, digests, self._predict(pixels))

    def _read(self, row: dict[str, Any]) -> tuple[bytes, str]:
        return read_as_listed(self.source, row["path"], length=row["length"], digest=row["digest"])


def _give_reason(error: OSError | DecodeError) -> str:
    """Return one line without the path, which the error row has already."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())


def _to_batch(rows: pa.RecordBatch, digests: list[str], features: Features) -> pa.RecordBatch:
    if features.shape != (rows.num_rows, FEATURES) or not np.isfinite(features).all():
        raise ValueError(
            f"the model gave features of shape {features.shape} for {rows.num_rows} images, or values that are not "
            f"finite; allowed: ({rows.num_rows}, {FEATURES}), finite. Check the weights."
        )
    tags = map(tag_of, rows.column("digest").to_pylist())
    computed = {"digest": to_strings(digests), "etag": to_strings(tags), "features": to_lists(features)}
    columns = [computed[name] if name in computed else rows.column(name) for name in STORED]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema(STORED))


def collect_errors(context: "SparkContext") -> "ErrorRows":
    """Return an accumulator of error rows.

    Spark counts an accumulator once for each task of an action, so the rows are right after one write of the
    extracted DataFrame; transforming it further without writing it would compute and count it again.
    """
    from pyspark.accumulators import AccumulatorParam

    class ListParam(AccumulatorParam[list[Any]]):
        def zero(self, value: list[Any]) -> list[Any]:
            return []

        def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:  # noqa: N802 - Spark's name
            return value1 + value2

    return context.accumulator([], ListParam())


def extract_features(images: "DataFrame", extractor: Extractor) -> "DataFrame":
    """Run the model over a DataFrame of images, lazily.

    Parameters
    ----------
    images
        Columns path, label, split, length, modified, digest.
    extractor
        The model and how to read an image.

    Returns
    -------
    DataFrame
        path, label, split (string), length, modified (bigint), digest (string, the hash of what was read), etag
        (string, the tag in S3, else empty), features (array<float> of 1280); no row for an image that cannot be
        decoded. Each action computes it anew: write it once and read that back.
    """
    return images.mapInArrow(extractor.extract, spark_schema(STORED))
