"""Scores of images: their features on the principal components. Runs on the workers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.arrow import MapBatches, to_lists
from fruits.errors import UsageError
from fruits.moments import Matrix, check_length, read_features
from fruits.workers import prepare_workers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fruits.features.store import StoredFeatures


def to_scorer(
    features: "DataFrame | StoredFeatures", vectors: Matrix, offset: Matrix, *, names: Sequence[str]
) -> MapBatches:
    """Return what turns batches of features into batches of `names` and scores, with the vectors broadcast."""
    prepare_workers(context := features.sparkSession.sparkContext)
    shared = context.broadcast(vectors)

    def to_scores(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            scores = to_lists(center(read_features(batch), shared.value, offset))
            yield pa.RecordBatch.from_arrays([*map(batch.column, names), scores], [*names, "pca"])

    return to_scores


def center(rows: npt.NDArray[Any], vectors: Matrix, offset: Matrix) -> npt.NDArray[np.float32]:
    """Return the scores (n, k), float32, of features (n, d): `rows @ vectors - offset`."""
    if rows.ndim != 2:
        raise UsageError(f"features is an array of shape {rows.shape}; it must be (n, {len(vectors)}).")
    check_length(rows.shape[1], len(vectors))
    return (rows @ vectors - offset).astype(np.float32)
