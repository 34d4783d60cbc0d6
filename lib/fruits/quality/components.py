"""How many components are enough: by the accuracy that they keep, and by chance."""

from collections.abc import Sequence

import numpy as np

from fruits.pca import PCA
from fruits.quality.trial import ALL, Trial

# Shares that are rounded to the last bit may differ by a little more than a point.
_POINT = 0.01 + 1e-9
_DRAWS = 5


def find_components(trials: Sequence[Trial], *, features: int) -> int | None:
    """Return the smallest k whose nearest-neighbour accuracy, the mean of the trials, is within a point of the best."""
    if not trials:
        return None
    ks = [k for k in trials[0].ks if all(k in trial.ks for trial in trials)]
    means = {k: np.mean([trial.right("nn1", k).mean() for trial in trials]) for k in ks}
    best = max(means.values())
    k = next(k for k in ks if means[k] >= best - _POINT)
    return features if k == ALL else int(k)


def count_by_parallel_analysis(pca: PCA, *, seed: int) -> int | None:
    """Return how many leading components vary more than those of independent features of the same variances.

    Horn, A rationale and test for the number of factors in factor analysis, Psychometrika 30 (1965). The scatter matrix
    of so many random samples is drawn directly, by Bartlett's decomposition; a component counts if it varies more than
    in each of five draws. None for a PCA that `load_pca` read.
    """
    if pca.rotation is None or pca.n_samples is None:
        return None
    degrees, features = pca.n_samples - 1, len(pca.mean)
    ratios = pca.spectrum[: len(pca.rotation)]
    deviations = np.sqrt(ratios @ pca.rotation**2)
    random = np.random.default_rng(seed)
    values = []
    for _ in range(_DRAWS):
        root = random.normal(size=(features, min(features, degrees)))
        if degrees >= features:
            root = np.tril(root, -1) + np.diag(np.sqrt(random.chisquare(degrees - np.arange(features))))
        scaled = root * deviations[:, None]
        small = scaled.T @ scaled if degrees < features else scaled @ scaled.T
        values.append(np.linalg.eigvalsh(small)[::-1] / degrees)
    chance = np.max(values, axis=0)[: len(ratios)]
    below = np.flatnonzero(ratios[: len(chance)] <= chance)
    return int(below[0]) if below.size else len(chance)
