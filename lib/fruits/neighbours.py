"""The images and classes of a run that lie nearest to other scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fruits.ownership import check_whole
from fruits.results import SCORES, read_scores, to_matrix

Scores = npt.NDArray[np.float32]
# Images whose distances to all images of a run are in memory at once: 35 MB beside Fruits-360.
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The images of a run: scores (n, k), float32, and n paths and labels."""

    scores: Scores
    paths: npt.NDArray[np.object_]
    labels: npt.NDArray[np.object_]

    def find(self, paths: Sequence[str], scores: Scores, *, count: int = 3) -> pd.DataFrame:
        """Find the nearest `count` classes and images, by Euclidean distance. A class is as near as its nearest image.

        Returns path, kind (class or image), rank (from 1), label, nearest (path of the image of the run) and
        distance.
        """
        from scipy.spatial.distance import cdist

        # Classes lie together, so that the nearest of each is a minimum over a slice.
        order = np.argsort(self.labels, kind="stable")
        starts = np.unique(self.labels[order], return_index=True)[1]
        known = self.scores[order].astype(np.float64)
        found = []
        for first in range(0, len(scores), _BLOCK):
            gaps = cdist(scores[first : first + _BLOCK].astype(np.float64), known)
            for path, gap in zip(paths[first : first + _BLOCK], gaps, strict=True):
                slices = zip(starts, np.split(gap, starts[1:]), strict=True)
                nearest = {
                    "class": np.array([start + part.argmin() for start, part in slices]),
                    "image": np.argpartition(gap, min(count, len(gap)) - 1)[:count],
                }
                for kind, places in nearest.items():
                    ranked = places[np.argsort(gap[places], kind="stable")][:count]
                    images = zip(order[ranked], gap[ranked], strict=True)
                    found += [
                        (path, kind, rank, self.labels[image], self.paths[image], float(distance))
                        for rank, (image, distance) in enumerate(images, start=1)
                    ]
        return pd.DataFrame(found, columns=["path", "kind", "rank", "label", "nearest", "distance"])


def load_neighbourhood(folder: Path) -> Neighbourhood:
    """Load the scores that a run saved in `<output_dir>/<MODE>`; refuse those of an unfinished run, or of two."""
    check_whole(folder, below=SCORES)
    scores = read_scores(folder)
    texts = (np.array(scores[name].to_pylist(), dtype=object) for name in ("path", "label"))
    return Neighbourhood(to_matrix(scores), *texts)
