"""Principal components: one pass to mean and scatter matrix, eigenvectors on the driver, a true Spark PCAModel.

Same components and variances as `pyspark.ml.feature.PCA`, whose shares are of the *total* variance too. Two things
differ, both on purpose: the scores here are centred, (x - mean) V, where Spark's `transform` gives x V; and k never
exceeds the rank, min(n - 1, d), where Spark returns arbitrary directions.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fruits.arrow import to_lists, to_matrix
from fruits.errors import FruitsError, explain_failures
from fruits.images.rows import NAMES, SCORED, spark_schema
from fruits.moments import Matrix, Moments, sum_moments

if TYPE_CHECKING:
    from pyspark.ml.feature import PCAModel
    from pyspark.sql import DataFrame, SparkSession

    from fruits.features.store import StoredFeatures

# A running sum of floats may end a few units in the last place below 1.
_FORGIVEN = 1e-12


@dataclass(frozen=True, kw_only=True)
class Components:
    """A fitted PCA of n rows in d dimensions, k components kept.

    Attributes
    ----------
    count : int
        n, the rows it was fitted to.
    requested : int
        The k asked for; `kept` is smaller where the rank is.
    mean : ndarray of shape (d,), float64
    vectors : ndarray of shape (d, k), float64
        Orthonormal columns; the entry of largest magnitude of each is positive.
    all_shares : ndarray of shape (d,), float64
        Shares of the total variance of all d components, descending; their sum is 1.
    """

    count: int
    requested: int
    mean: Matrix
    vectors: Matrix
    all_shares: Matrix

    @property
    def kept(self) -> int:
        """The number of components kept, k."""
        return int(self.vectors.shape[1])

    @property
    def shares(self) -> Matrix:
        """Shares of the total variance of the components kept, (k,)."""
        return self.all_shares[: self.kept]

    @property
    def cumulative(self) -> Matrix:
        """Running sum of the shares kept, (k,)."""
        return np.cumsum(self.shares)

    def describe(self, variance_target: float) -> str:
        """Say in a sentence or two what was kept and whether the target is reached."""
        text = f"{self.kept} components keep {format_share(self.cumulative[-1])} of the total variance."
        if self.kept < self.requested:
            text += (
                f" {self.requested} were asked for, but {self.count} images span {self.kept} dimensions at most"
                " (one less than there are images)."
            )
        reached = count_components(self.cumulative, variance_target)
        needed = count_components(np.cumsum(self.all_shares), variance_target)
        if reached:
            return f"{text} The target of {format_target(variance_target)} is reached with {reached}."
        more = f"; it would take {needed}" if needed else ""
        return f"{text} The target of {format_target(variance_target)} is never reached with {self.kept}{more}."


def count_components(cumulative: Matrix, target: float) -> int | None:
    """Return how many components reach a share of the variance, None if none do."""
    reached = np.flatnonzero(cumulative >= target - _FORGIVEN)
    return int(reached[0]) + 1 if reached.size else None


def format_share(share: float, *, digits: int = 1) -> str:
    """Return a share as a percentage, cut off and not rounded: 0.9996 is 99.9%, so no target seems to be reached."""
    return f"{math.floor((share + _FORGIVEN) * 100 * 10**digits) / 10**digits:.{digits}f}%"


def format_target(target: float) -> str:
    """Return a share that somebody asked for as a percentage with all its digits: 0.95 is 95%, 0.999 is 99.9%."""
    return f"{(100 * Decimal(str(target))).normalize():f}%"


def fit_pca(features: "DataFrame | StoredFeatures", *, k: int, column: str = "features") -> Components:
    """Fit principal components in one pass over the data.

    Parameters
    ----------
    features
        Stored features, or a DataFrame with an array<float> or array<double> column of one length d.
    k
        Components to keep; at most min(n - 1, d) are.
    column
        Name of that column.

    Raises
    ------
    FruitsError
        For fewer than two rows, rows without any variance, or values that are not finite.
    """
    with explain_failures("the PCA"):
        moments = sum_moments(features, column=column)
    if moments is None:
        raise FruitsError("PCA needs at least 2 images, got 0; see errors.csv and the selection (classes, max_images).")
    return components_of(moments, k=k)


def components_of(moments: Moments, *, k: int) -> Components:
    """Decompose the covariance matrix of the rows; see `fit_pca` for what is raised."""
    from scipy.linalg import eigh

    if moments.count < 2:
        raise FruitsError(f"PCA needs at least 2 images, got {moments.count}; take more (classes, max_images).")
    if not np.isfinite(moments.scatter).all():
        raise FruitsError("PCA got features that are NaN or infinite; compute them anew with sound weights.")
    values, vectors = eigh(moments.scatter / (moments.count - 1))
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    scale = np.abs(moments.mean).max()
    if values[0] <= (np.finfo(np.float64).eps * scale) ** 2:
        raise FruitsError(f"PCA of {moments.count} images without any variance: all features are the same.")
    kept = min(k, moments.count - 1, len(values))
    return Components(
        count=moments.count,
        requested=k,
        mean=moments.mean,
        vectors=_fix_signs(np.ascontiguousarray(vectors[:, :kept])),
        all_shares=values / values.sum(),
    )


def project(features: "DataFrame | StoredFeatures", components: Components) -> "DataFrame":
    """Compute centred scores, (x - mean) V.

    Parameters
    ----------
    features
        Stored features, or a DataFrame: path, label, split (string), features (array<float> of d).

    Returns
    -------
    DataFrame
        path, label, split (string), pca (array<float> of k).
    """
    vectors = features.sparkSession.sparkContext.broadcast(components.vectors)
    offset = components.mean @ components.vectors

    def to_scores(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            scores = to_matrix(batch.column("features")).astype(np.float64) @ vectors.value - offset
            columns = [*(batch.column(name) for name in NAMES), to_lists(scores.astype(np.float32))]
            yield pa.RecordBatch.from_arrays(columns, list(SCORED))

    return features.mapInArrow(to_scores, spark_schema(SCORED)).select(*SCORED)


def to_spark_model(spark: "SparkSession", components: Components) -> "PCAModel":
    """Make a standard PCAModel: saved, loaded and transformed like one that Spark fitted.

    Its `transform` does not centre, as Spark's never does: subtract `components.mean @ components.vectors`.
    """
    from pyspark.ml.common import _py2java
    from pyspark.ml.feature import PCAModel
    from pyspark.ml.linalg import DenseMatrix, DenseVector

    rows, columns = components.vectors.shape
    matrix = DenseMatrix(rows, columns, components.vectors.ravel(order="F"))
    context = spark.sparkContext
    # The constructor is private to Scala, not to the JVM; transform needs k to be set on the Java side.
    java_class = context._jvm.org.apache.spark.ml.feature.PCAModel  # type: ignore[union-attr]
    java = java_class("pca_fruits", _py2java(context, matrix), _py2java(context, DenseVector(components.shares)))
    java.set(java.k(), components.kept)
    java.set(java.inputCol(), "features")
    java.set(java.outputCol(), "pca")
    return PCAModel(java)


def _fix_signs(vectors: Matrix) -> Matrix:
    largest = np.abs(vectors).argmax(axis=0)
    signs: Matrix = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return vectors * signs
