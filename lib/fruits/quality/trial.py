"""A trial: classifiers are trained on some images and predict the classes of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fruits.features.store import read_features
from fruits.pca import PCA, fit_pca
from fruits.quality.groups import cut_folds
from fruits.quality.nearest import choose_shrinkages, predict_classes
from fruits.quality.probe import SHRINKAGES, Basis, Integers, fit_folds, fit_linear, sum_classes

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

KS = (2, 5, 10, 20, 50, 100, 200)
ALL = "all"
CLASSIFIERS = ("nn1", "linear")
COLUMNS = ("split", "k", "classifier", "accuracy", "low", "high", "train", "test")
# Single images are compared on so many components.
SHOWN = 50
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Classifiers that were trained on some images and predicted the classes of others.

    Attributes
    ----------
    name : str
        `official`, or the groups, as `0->r`.
    train, test : DataFrame
        path, label, group and others, in the order of the paths.
    ks : tuple of str
        The numbers of components, and last `all`: all features.
    predicted : dict of str to ndarray of shape (test, ks)
        For each of `CLASSIFIERS` the labels.
    nearest : ndarray of shape (test, ks)
        The rows in `train` of the nearest neighbours.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    ks: tuple[str, ...]
    predicted: dict[str, Any]
    nearest: Integers

    def right(self, classifier: str, k: str) -> Any:
        """Return for each test image whether its class was predicted."""
        return self.predicted[classifier][:, self.ks.index(k)] == self.test["label"].to_numpy()

    def mark_right(self, classifier: str, k: str) -> pd.DataFrame:
        """Return path, label (str) and right (bool) of the test images."""
        return self.test[["path", "label"]].assign(right=self.right(classifier, k))

    @property
    def shown_k(self) -> str:
        """The number of components at which single images are shown: 50, or the largest below it that was tried."""
        return max((k for k in self.ks[:-1] if int(k) <= SHOWN), key=int, default=self.ks[0])

    def tabulate(self, *, seed: int) -> pd.DataFrame:
        """Return the accuracies, with intervals of 95 % from resampled classes and groups."""
        _, clusters = np.unique(self.test["label"] + "\0" + self.test["group"], return_inverse=True)
        sizes = np.bincount(clusters)
        draws = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), _RESAMPLES)
        rows = []
        for k in self.ks:
            for classifier in CLASSIFIERS:
                right = self.right(classifier, k)
                shares = draws @ np.bincount(clusters, weights=right) / (draws @ sizes)
                low, high = np.quantile(shares, (0.025, 0.975))
                rows.append((self.name, k, classifier, right.mean(), low, high, len(self.train), len(self.test)))
        return pd.DataFrame(rows, columns=COLUMNS)

    def share_in_same_group(self) -> float | None:
        """Return the share of test images whose nearest training image is of their own group and class."""
        if not self.test["group"].any():
            return None
        found = self.train.iloc[self.nearest[:, -1]]
        same = [found[name].to_numpy() == self.test[name].to_numpy() for name in ("group", "label")]
        return round(float(np.mean(same[0] & same[1])), 6)

    def describe(self, *, features: int, seed: int) -> dict[str, Any]:
        """Return the part of the manifest."""
        table = self.tabulate(seed=seed)
        accuracy: dict[str, dict[str, float]] = {k: {} for k in self.ks}
        interval: dict[str, dict[str, list[float]]] = {k: {} for k in self.ks}
        for row in table.itertuples():
            accuracy[row.k][row.classifier] = round(float(row.accuracy), 6)
            interval[row.k][row.classifier] = [round(float(row.low), 6), round(float(row.high), 6)]
        sizes = {"train": len(self.train), "test": len(self.test), "classes": int(self.test["label"].nunique())}
        return {**sizes, "accuracy": accuracy, "features": features, "interval": interval}


def run_trial(
    spark: "SparkSession", name: str, train: pd.DataFrame, test: pd.DataFrame, *, pca: PCA, store: "Path", fitted: bool
) -> Trial:
    """Train on some images and test on others, both with features in the store.

    With `fitted`, the components of `pca` are those of `train`; else a PCA is fitted on `train` alone.
    """
    train, test = (images.sort_values("path", ignore_index=True) for images in (train, test))
    describe = spark.sparkContext.setJobDescription
    classes = sorted(set(train["label"]))
    codes = {label: code for code, label in enumerate(classes)}
    folded = read_features(spark, train.assign(split=cut_folds(train).astype(str)), store=store)
    if fitted and pca.rotation is not None:
        basis = Basis.of(pca.mean, pca.rotation)
    else:
        describe(f"quality, {name}: PCA")
        own = fit_pca(folded, k=len(pca.mean))
        basis = Basis.of(own.mean, own.components)
    rank = basis.vectors.shape[1]
    ks = [k for k in KS if k <= pca.n_components and k < rank] + [rank]
    describe(f"quality, {name}: sums of classes")
    folds = sum_classes(folded, classes=classes, basis=basis)
    places = dict.fromkeys(ks, len(SHRINKAGES) // 2)
    if len(folds) > 1:
        probes = {k: fit_folds(folds, k=k) for k in ks}
        describe(f"quality, {name}: shrinkage")
        places = choose_shrinkages(folded, basis=basis, codes=codes, probes=probes)
    total = reduce(add, folds.values())
    linear = {k: fit_linear(total, k=k, shrinkage=SHRINKAGES[place]) for k, place in places.items()}
    tested = read_features(spark, test, store=store)
    describe(f"quality, {name}: predictions")
    found = predict_classes(tested, folded, basis=basis, ks=ks, linear=linear)
    names = np.array(classes, dtype=object)
    labels = {"nn1": train["label"].to_numpy()[found.nearest], "linear": names[found.linear]}
    ks_named = (*map(str, ks[:-1]), ALL)
    return Trial(name=name, train=train, test=test, ks=ks_named, predicted=labels, nearest=found.nearest)


def count_confusions(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return what the nearest neighbour mistakes for what, at `shown_k`.

    Returns
    -------
    DataFrame
        label, predicted (str), images (int64), share (float64, of the test images of the label), path, nearest
        (str: an image and its neighbour); most images first.
    """
    mistakes, sizes = [], pd.Series(dtype="int64")
    for trial in trials:
        step = trial.ks.index(trial.shown_k)
        nearest = trial.train.iloc[trial.nearest[:, step]]
        found = pd.DataFrame({"label": trial.test["label"], "path": trial.test["path"]}).assign(
            predicted=nearest["label"].to_numpy(), nearest=nearest["path"].to_numpy()
        )
        mistakes.append(found[found["label"] != found["predicted"]])
        sizes = sizes.add(trial.test["label"].value_counts(), fill_value=0)
    names = ["label", "predicted", "images", "share", "path", "nearest"]
    if not mistakes:
        return pd.DataFrame([], columns=names)
    counted = pd.concat(mistakes).groupby(["label", "predicted"], as_index=False)
    table = counted.agg(images=("path", "size"), path=("path", "first"), nearest=("nearest", "first"))
    table = table.assign(share=table["images"] / table["label"].map(sizes))[names]
    return table.sort_values(["images", "label", "predicted"], ascending=[False, True, True], ignore_index=True)
