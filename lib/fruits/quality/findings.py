"""What the neighbours of images tell: images that may be mislabelled, duplicates, and a map of all images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fruits.features.store import read_features
from fruits.pca import PCA
from fruits.quality.nearest import Neighbours, find_neighbours
from fruits.quality.probe import Basis, Floats, Integers
from fruits.quality.trial import SHOWN

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

NEIGHBOURS = 5
# Near duplicates: nearer than this share of the median distance between an image and its nearest neighbour.
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """All images of a run and of its other split, in the order of their paths, with their neighbours.

    Attributes
    ----------
    images : DataFrame
        path, label, split, digest, group (str), frame (int64).
    scores : ndarray of shape (n, k), float32
        Centred scores on the first `SHOWN` components, or fewer; distances are on these.
    nearest, other : Neighbours
        The five nearest images of each; and of those in other groups.
    """

    images: pd.DataFrame
    scores: Floats
    nearest: Neighbours
    other: Neighbours

    def list_suspects(self) -> pd.DataFrame:
        """Return images whose five nearest neighbours of other groups agree on another class, the nearest first.

        Returns
        -------
        DataFrame
            path, label, split, group, neighbours_label, nearest (str), distance (float64).
        """
        labels = self.images["label"].to_numpy()
        around = labels[self.other.rows]
        agree = (self.other.rows >= 0).all(axis=1) & (around == around[:, :1]).all(axis=1) & (around[:, 0] != labels)
        table = self.images[["path", "label", "split", "group"]].assign(
            neighbours_label=around[:, 0],
            nearest=self.images["path"].to_numpy()[self.other.rows[:, 0]],
            distance=self.other.distances[:, 0].astype(float),
        )
        return table[agree].sort_values(["distance", "path"], ignore_index=True)

    def list_duplicates(self) -> pd.DataFrame:
        """Return pairs of images of the same content (`exact`), or much nearer than neighbours usually are (`near`).

        Returns
        -------
        DataFrame
            kind, path, label, split, other_path, other_label, other_split (str), distance (float64).
        """
        digests = self.images["digest"]
        first = digests.map(dict(zip(digests[::-1], digests.index[::-1], strict=True))).to_numpy()
        own = np.arange(len(first))
        exact = np.flatnonzero(first != own)
        near, gaps = self.nearest.rows[:, 0], self.nearest.distances[:, 0]
        close = np.flatnonzero((gaps <= _NEAR * np.median(gaps)) & (first[near] != first) & (near >= 0))
        ends = np.unique(np.sort(np.stack([close, near[close]], axis=1), axis=1), axis=0)
        pairs = [("exact", own[exact], first[exact]), ("near", ends[:, 0], ends[:, 1])]
        table = pd.concat([self._pair(*pair) for pair in pairs], ignore_index=True)
        return table.sort_values(["kind", "distance", "path"], ignore_index=True)

    def _pair(self, kind: str, some: Integers, others: Integers) -> pd.DataFrame:
        names = ["path", "label", "split"]
        left, right = (self.images[names].iloc[rows].reset_index(drop=True) for rows in (some, others))
        gaps = np.linalg.norm(self.scores[some].astype(float) - self.scores[others], axis=1)
        table = left.join(right.add_prefix("other_")).assign(distance=gaps)
        table.insert(0, "kind", kind)
        return table

    def list_queries(self, count: int = 4) -> pd.DataFrame:
        """Return path and label of some images, each before its four nearest of other groups, or of all."""
        around = self.other.rows if (self.other.rows >= 0).all() else self.nearest.rows
        chosen = np.unique(np.linspace(0, len(self.images) - 1, count + 2).astype(int)[1:-1])
        rows = np.hstack([chosen[:, None], around[chosen, : NEIGHBOURS - 1]])
        return self.images.loc[rows[(rows >= 0).all(axis=1)].ravel(), ["path", "label"]]

    def list_points(self, right: "pd.Series[bool] | None" = None) -> pd.DataFrame:
        """Return the points of the atlas.

        Parameters
        ----------
        right
            Whether the class of an image was predicted, by path; others are unknown.

        Returns
        -------
        DataFrame
            path, label, split, group (str), frame (int64), x, y (float32), right (boolean or null), suspect (bool),
            neighbours (lists of at most 5 rows).
        """
        plane = np.pad(self.scores[:, :2], ((0, 0), (0, max(0, 2 - self.scores.shape[1]))))
        known = self.images["path"].map({} if right is None else right.to_dict())
        return self.images[["path", "label", "split", "group", "frame"]].assign(
            x=plane[:, 0],
            y=plane[:, 1],
            right=known.astype("boolean"),
            suspect=self.images["path"].isin(self.list_suspects()["path"]),
            neighbours=[[row for row in rows if row >= 0] for rows in self.nearest.rows.tolist()],
        )


def look_around(spark: "SparkSession", images: pd.DataFrame, *, pca: PCA, store: "Path") -> Surroundings:
    """Find the neighbours of all images, in the order of their paths, on the first components."""
    codes = images["group"].astype("category").cat.codes.to_numpy(np.int64)
    features = read_features(spark, images, store=store)
    basis = Basis.of(pca.mean, pca.components[:SHOWN])
    scores, nearest, other = find_neighbours(features, basis=basis, codes=codes, count=NEIGHBOURS)
    return Surroundings(images=images, scores=scores, nearest=nearest, other=other)
