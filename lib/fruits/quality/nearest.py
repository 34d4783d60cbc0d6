"""Nearest neighbours and classes of many images, by blocks on Spark's workers.

To predict classes, each task holds some thousand images and reads all others block by block, so memory does not grow
with their number. To find neighbours, each Python process holds the few coordinates of all images: 0.2 GB for a
million.

Distances are Euclidean, in float32, by matrix products: half of the squared distance, less what is the same for all
neighbours of an image, is |s|^2 / 2 - q s. Beyond some million images, read an index instead: FAISS has one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fruits.features.store import Block, StoredFeatures, read_blocks
from fruits.quality.probe import SHRINKAGES, Basis, Floats, Integers, Linear, split_folds

# Images a task compares at once with all others: 40 MB of features.
QUERIES = 8192
# Rows of a table of distances: with a block of images it stays in the cache.
_ROWS = 256


@dataclass(frozen=True)
class Predictions:
    """For each image and k: the row of its nearest neighbour, and the class of the linear classifier, (n, ks)."""

    nearest: Integers
    linear: Integers


def predict_classes(
    queries: StoredFeatures,
    known: StoredFeatures,
    *,
    basis: Basis,
    ks: Sequence[int],
    linear: Mapping[int, Linear],
) -> Predictions:
    """Find the nearest neighbour of each image among known ones, and its linear class, on the first k coordinates.

    Rows are counted in the order of the paths; `ks` ascend.
    """
    context = queries.sparkSession.sparkContext
    shared = context.broadcast((known.blocks, basis, dict(linear)))

    def predict(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Integers, Integers]]:
        blocks, turn, probes = shared.value
        for rows in _gather(batches, turn):
            classes = [probes[k].predict(rows) for k in ks]
            yield _find_nearest(rows, _project(blocks, turn), ks), np.stack(classes, axis=1)

    found = queries.select("features").mapPartitions(predict).collect()
    nearest, classes = (np.concatenate(part) for part in zip(*found, strict=True))
    return Predictions(nearest, classes)


def choose_shrinkages(
    train: StoredFeatures,
    *,
    basis: Basis,
    codes: Mapping[str, int],
    probes: Mapping[int, Mapping[str, Sequence[Linear]]],
) -> dict[int, int]:
    """Return for each k the place of the classifier that is right most often on the images of the folds left out.

    The column `split` names the fold of an image, `codes` number the classes; `probes` are by k and by fold.
    """
    shared = train.sparkSession.sparkContext.broadcast((basis, dict(codes), dict(probes)))

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[Integers]:
        turn, numbers, tried = shared.value
        for batch in batches:
            right = np.zeros((len(tried), len(SHRINKAGES)), np.int64)
            for fold, rows, labels in split_folds(batch, basis=turn, codes=numbers):
                for step, found in enumerate(tried.values()):
                    right[step] += [int((probe.predict(rows) == labels).sum()) for probe in found[fold]]
            yield right

    right = sum(train.select("label", "split", "features").mapPartitions(count).collect())
    return dict(zip(probes, np.argmax(right, axis=1).tolist(), strict=True))


def _project(blocks: Iterable[Block], basis: Basis) -> Iterator[Floats]:
    for batch in read_blocks(blocks, ("features",)):
        yield basis.project(batch)


def _gather(batches: Iterable[pa.RecordBatch], basis: Basis) -> Iterator[Floats]:
    """Yield the coordinates of some thousand images at a time."""
    rows: list[Floats] = []
    for batch in batches:
        rows.append(basis.project(batch))
        if sum(map(len, rows)) >= QUERIES:
            yield np.concatenate(rows)
            rows = []
    if rows:
        yield np.concatenate(rows)


def _find_nearest(queries: Floats, blocks: Iterable[Floats], ks: Sequence[int]) -> Integers:
    best = np.full((len(ks), len(queries)), np.inf, np.float32)
    places = np.zeros((len(ks), len(queries)), np.int64)
    parts = [slice(low, high) for low, high in pairwise((0, *ks))]
    first = 0
    for block in blocks:
        halves = [(block[:, part] ** 2).sum(axis=1) / 2 for part in parts]
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            gap = np.zeros((len(queries[rows]), len(block)), np.float32)
            for step, (part, half) in enumerate(zip(parts, halves, strict=True)):
                more = queries[rows, part] @ block[:, part].T
                gap += np.subtract(half, more, out=more)
                place = gap.argmin(axis=1)
                least = np.take_along_axis(gap, place[:, None], axis=1)[:, 0]
                closer = least < best[step, rows]
                best[step, rows][closer] = least[closer]
                places[step, rows][closer] = first + place[closer]
        first += len(block)
    return places.T


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of each image, nearest first: rows and distances, (n, count); row -1 where there is none."""

    rows: Integers
    distances: Floats


def find_neighbours(
    images: StoredFeatures, *, basis: Basis, codes: Integers, count: int
) -> tuple[Floats, Neighbours, Neighbours]:
    """Return the coordinates of images, and their nearest other images: among all, and among those of another code.

    `codes` are in the order of the paths. Features are read once; each Python process holds the coordinates of all.
    """
    context = images.sparkSession.sparkContext
    shared_basis = context.broadcast(basis)
    projected = images.select("features").mapPartitions(lambda batches: map(shared_basis.value.project, batches))
    shared = context.broadcast((scores := projected.collect(), codes))

    def find(numbers: Iterable[int]) -> Iterator[list[npt.NDArray[Any]]]:
        blocks, groups = shared.value
        bounds = np.cumsum([0, *map(len, blocks)])
        for number in numbers:
            own = np.arange(*bounds[number : number + 2])
            yield _find_around(blocks[number], own, blocks, groups, count)

    numbers = context.parallelize(range(len(scores)), min(context.defaultParallelism, len(scores)))
    found = numbers.mapPartitions(find).collect()
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    return np.concatenate(scores), Neighbours(*parts[:2]), Neighbours(*parts[2:])


def _find_around(
    queries: Floats, own: Integers, blocks: Iterable[Floats], codes: Integers, count: int
) -> list[npt.NDArray[Any]]:
    shape = (len(queries), count)
    found = [(np.full(shape, -1, np.int64), np.full(shape, np.inf, np.float32)) for _ in range(2)]
    first, norms = 0, (queries * queries).sum(axis=1)
    for block in blocks:
        there = np.arange(first, first + len(block))
        lengths = (block * block).sum(axis=1)
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            gap = (-2 * queries[rows]) @ block.T
            gap += norms[rows, None] + lengths
            itself = np.flatnonzero((own[rows] >= first) & (own[rows] < first + len(block)))
            gap[itself, own[rows][itself] - first] = np.inf
            least = gap.min(axis=1)
            for others_only, (places, gaps) in enumerate(found):
                near = np.flatnonzero(least < gaps[rows, -1])  # most blocks hold no nearer image for most images
                part = gap[near]
                if others_only:
                    part[codes[own[start + near], None] == codes[there]] = np.inf
                _keep_nearest(places, gaps, part, start + near, first)
        first += len(block)
    return [part for rows, gaps in found for part in (rows, np.sqrt(np.maximum(gaps, 0)))]


def _keep_nearest(places: Integers, gaps: Floats, part: Floats, rows: Integers, first: int) -> None:
    """Put what a block holds of nearer images among those found so far for some rows."""
    count = gaps.shape[1]
    new = np.argpartition(part, min(count, part.shape[1]) - 1, axis=1)[:, :count]
    both = np.hstack([gaps[rows], np.take_along_axis(part, new, axis=1)])
    order = np.argsort(both, axis=1, kind="stable")[:, :count]
    gaps[rows] = np.take_along_axis(both, order, axis=1)
    places[rows] = np.take_along_axis(np.hstack([places[rows], first + new]), order, axis=1)
