"""Principal components: fitted in one pass over the features on Spark's workers, decomposed on the driver.

Components and ratios are those of `pyspark.ml.feature.PCA`. Two things differ, both on purpose: `transform` centres,
where Spark's does not; and there are never more components than the rank, min(n - 1, d), where Spark returns
arbitrary directions.
"""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.errors import FruitsError, UsageError, explain_failures
from fruits.images.rows import NAMES, SCORED, arrow_schema, spark_schema
from fruits.moments import Matrix, Moments, check_length, sum_moments
from fruits.scores import center, to_scorer
from fruits.workers import prepare_workers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fruits.features.store import StoredFeatures

_TYPES = ("array<float>", "array<double>")
# A running sum of floats may end a few units in the last place below 1.
_TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class PCA:
    """A fitted PCA of n samples in d dimensions, with scikit-learn's names for its parts.

    Attributes
    ----------
    mean : ndarray of shape (d,), float64
    components : ndarray of shape (k, d), float64
        Orthonormal rows, by falling variance; the entry of largest magnitude in each is positive.
    spectrum : ndarray, float64
        The ratio of the total variance of each of the d components, of which k were kept; `load_pca` knows only k.
    requested : int
        The k asked for; `n_components` is smaller where the rank is.
    n_samples : int or None
        None after `load_pca`.
    rotation : ndarray of shape (rank, d) or None
        The components and, after them, all other directions in which the samples vary; None after `load_pca`.
    model_id : str or None
        The model whose features were fitted, if it is known: `transform` refuses those of another one.
    """

    mean: Matrix
    components: Matrix
    spectrum: Matrix
    requested: int
    n_samples: int | None = None
    rotation: Matrix | None = None
    model_id: str | None = None

    @property
    def n_components(self) -> int:
        """The number of components, k."""
        return len(self.components)

    @property
    def explained_variance_ratio(self) -> Matrix:
        """The ratio of the total variance of each component, (k,)."""
        return self.spectrum[: self.n_components]

    @property
    def cumulative_variance_ratio(self) -> Matrix:
        """Running sum of `explained_variance_ratio`, (k,)."""
        return np.cumsum(self.explained_variance_ratio)

    @overload
    def transform(self, features: "DataFrame | StoredFeatures") -> "DataFrame": ...
    @overload
    def transform(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...
    def transform(
        self, features: "DataFrame | StoredFeatures | npt.NDArray[Any]"
    ) -> "DataFrame | npt.NDArray[np.float32]":
        """Compute centred scores, (x - mean) V, with V of shape (d, k) the transposed components.

        Parameters
        ----------
        features
            Stored features, a DataFrame with a column `features`, array<float> or array<double> of length d, or an
            array of shape (n, d).

        Returns
        -------
        DataFrame or ndarray
            Those of path, label and split (string) that `features` has, and pca (array<float> of length k); for an
            array, one of shape (n, k), float32.

        Raises
        ------
        UsageError
            If the column is missing, has another type or length, or is of another model; of the rows, only the first
            is looked at.
        """
        # One layout in memory, one order of the sums.
        vectors = np.ascontiguousarray(self.components.T)
        offset = self.mean @ vectors
        if isinstance(features, np.ndarray):
            return center(features, vectors, offset)
        return self._transform_on_spark(features, vectors, offset)

    def _transform_on_spark(
        self, features: "DataFrame | StoredFeatures", vectors: Matrix, offset: Matrix
    ) -> "DataFrame":
        from pyspark.sql import DataFrame, functions

        _check_features(features)
        names = [name for name in NAMES if name in features.columns]
        if (found := find_model_id(features)) and self.model_id and found != self.model_id:
            raise UsageError(
                f"these features are of the model {found}, the PCA is of {self.model_id}; compute them with the same "
                "network, input size, weights and engine."
            )
        if isinstance(features, DataFrame):
            features = features.select(*(functions.col(name).cast("string") for name in names), "features")
            if first := features.select(functions.size("features")).first():
                check_length(first[0], len(self.mean))
        scorer = to_scorer(features, vectors, offset, names=names)
        return features.mapInArrow(scorer, spark_schema([*names, "pca"]))

    def collect_scores(self, features: "StoredFeatures") -> pa.Table:
        """Compute the scores of stored features as `transform` does, and gather them here in the order of the paths.

        Returns
        -------
        pyarrow.Table
            path, label, split (string), pca (list of k float32).
        """
        vectors = np.ascontiguousarray(self.components.T)
        # No SQL: the JVM would take each score through a row of its own.
        parts = features.mapPartitions(to_scorer(features, vectors, self.mean @ vectors, names=NAMES))
        with explain_failures("the scores"):
            return pa.Table.from_batches(parts.collect(), arrow_schema(SCORED))

    def describe(self, variance_target: float) -> str:
        """Say in a sentence or two what was kept and whether the target is reached."""
        kept, target = self.n_components, format_target(variance_target)
        text = f"{kept} components keep {format_share(self.cumulative_variance_ratio[-1])} of the total variance."
        if kept < self.requested:
            text += (
                f" {self.requested} were asked for; {self.n_samples} images of {len(self.mean)} features have no more."
            )
        if reached := count_components(self.cumulative_variance_ratio, variance_target):
            return f"{text} The target of {target} is reached with {reached}."
        needed = count_components(np.cumsum(self.spectrum), variance_target)
        more = f"; it would take {needed}" if needed else ""
        return f"{text} The target of {target} is not reached with {kept}{more}."


def find_model_id(features: "DataFrame | StoredFeatures") -> str | None:
    """Return the model that `extract_features` names in the metadata of the column; None if it is not known."""
    schema = getattr(features, "schema", None)
    return schema["features"].metadata.get("model_id") if schema else None


def count_components(cumulative: Matrix, target: float) -> int | None:
    """Return how many components reach a ratio of the variance, None if none do."""
    reached = np.flatnonzero(cumulative >= target - _TOLERANCE)
    return int(reached[0]) + 1 if reached.size else None


def format_share(share: float, *, digits: int = 1) -> str:
    """Return a share as a percentage, cut off and not rounded: 0.9996 is 99.9%, so no target seems to be reached."""
    return f"{math.floor((share + _TOLERANCE) * 100 * 10**digits) / 10**digits:.{digits}f}%"


def format_target(target: float) -> str:
    """Return a share that somebody asked for as a percentage with all its digits: 0.95 is 95%, 0.999 is 99.9%."""
    return f"{(100 * Decimal(str(target))).normalize():f}%"


def fit_pca(features: "DataFrame | StoredFeatures", *, k: int = 200) -> PCA:
    """Fit at most k principal components in one pass over the data.

    Parameters
    ----------
    features
        Stored features, or a DataFrame with a column `features`, array<float> or array<double> of one length d.

    Raises
    ------
    UsageError
        If the column is missing or has another type, or k is below 1.
    FruitsError
        For fewer than two rows, rows without any variance, or values that are null or not finite.
    """
    if k < 1:
        raise UsageError(f"k is {k}; it must be an integer of 1 or more.")
    _check_features(features)
    prepare_workers(features.sparkSession.sparkContext)
    with explain_failures("the PCA"):
        moments = sum_moments(features)
    if moments is None:
        raise FruitsError("PCA needs at least 2 images, got 0; see errors.csv and the selection (classes, max_images).")
    return replace(decompose(moments, k=k), model_id=find_model_id(features))


def _check_features(features: "DataFrame | StoredFeatures") -> None:
    if not hasattr(features, "sparkSession"):
        kind = f"{type(features).__module__.partition('.')[0]}.{type(features).__name__}"
        raise UsageError(f"features is a {kind}; it must be a Spark DataFrame, as fruits.extract_features returns it.")
    if "features" not in features.columns:
        raise UsageError(f"there is no column `features` among {', '.join(features.columns)}; name it so.")
    found = dict(getattr(features, "dtypes", [("features", _TYPES[0])]))["features"]
    if found not in _TYPES:
        raise UsageError(f"column `features` is of type {found}; it must be {' or '.join(_TYPES)}.")


def decompose(moments: Moments, *, k: int) -> PCA:
    """Decompose the covariance matrix of the rows; see `fit_pca` for what is raised."""
    from scipy.linalg import eigh

    if moments.count < 2:
        raise FruitsError(f"PCA needs at least 2 images, got {moments.count}; take more (classes, max_images).")
    if not np.isfinite(moments.scatter).all():
        raise FruitsError("PCA got features that are NaN or infinite; compute them anew with sound weights.")
    values, vectors = eigh(moments.scatter / (moments.count - 1))
    values, components = np.clip(values[::-1], 0, None), vectors[:, ::-1].T
    scale = np.abs(moments.mean).max()
    if values[0] <= (np.finfo(np.float64).eps * scale) ** 2:
        raise FruitsError(f"PCA of {moments.count} images without any variance: all features are the same.")
    components = np.ascontiguousarray(components[: moments.count - 1])
    largest = np.abs(components).argmax(axis=1, keepdims=True)
    components = components * np.where(np.take_along_axis(components, largest, axis=1) < 0, -1.0, 1.0)
    return PCA(
        mean=moments.mean,
        components=components[:k],
        rotation=components,
        spectrum=values / values.sum(),
        requested=k,
        n_samples=moments.count,
    )
