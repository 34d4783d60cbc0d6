"""Nearest neighbours and classes of many images, by blocks on Spark's workers.

Each task holds some thousand images and reads all others block by block, so memory does not grow with their number.
Distances are Euclidean, in float32, by matrix products: half of the squared distance, less what is the same for all
neighbours of an image, is |s|^2 / 2 - q s. Beyond some million images, read an index instead: FAISS has one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        for rows, _ in _gather(batches, turn):
            classes = [probes[k].predict(rows) for k in ks]
            yield _find_nearest(rows, _project(blocks, turn), ks), np.stack(classes, axis=1)

    found = queries.select("label", "features").mapPartitions(predict).collect()
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


def _gather(batches: Iterable[pa.RecordBatch], basis: Basis) -> Iterator[tuple[Floats, list[str]]]:
    """Yield the coordinates and labels of some thousand images at a time."""
    rows: list[Floats] = []
    labels: list[str] = []
    for batch in batches:
        rows.append(basis.project(batch))
        labels += batch.column("label").to_pylist()
        if len(labels) >= QUERIES:
            yield np.concatenate(rows), labels
            rows, labels = [], []
    if labels:
        yield np.concatenate(rows), labels


def _find_nearest(queries: Floats, blocks: Iterable[Floats], ks: Sequence[int]) -> Integers:
    best = np.full((len(ks), len(queries)), np.inf, np.float32)
    places = np.zeros((len(ks), len(queries)), np.int64)
    first = 0
    for block in blocks:
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            gap: Floats | None = None
            for step, (low, high) in enumerate(zip((0, *ks), ks, strict=False)):
                part = block[:, low:high]
                more = (part * part).sum(axis=1) / 2 - queries[rows, low:high] @ part.T
                gap = more if gap is None else np.add(gap, more, out=gap)
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

    The column `label` holds the numbers of the rows, from 0, in the order of the paths.
    """
    shared = images.sparkSession.sparkContext.broadcast((images.blocks, basis, codes))

    def find(batches: Iterable[pa.RecordBatch]) -> Iterator[list[npt.NDArray[Any]]]:
        blocks, turn, groups = shared.value
        for rows, labels in _gather(batches, turn):
            yield [rows, *_find_around(rows, np.array(labels, np.int64), _project(blocks, turn), groups, count)]

    found = images.select("label", "features").mapPartitions(find).collect()
    scores, *parts = (np.concatenate(part) for part in zip(*found, strict=True))
    return scores, Neighbours(*parts[:2]), Neighbours(*parts[2:])


def _find_around(
    queries: Floats, own: Integers, blocks: Iterable[Floats], codes: Integers, count: int
) -> list[npt.NDArray[Any]]:
    shape = (len(queries), count)
    found = [(np.full(shape, -1, np.int64), np.full(shape, np.inf, np.float32)) for _ in range(2)]
    first, norms = 0, (queries * queries).sum(axis=1)
    for block in blocks:
        there = np.arange(first, first + len(block))
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            gap = norms[rows, None] + (block * block).sum(axis=1) - 2 * (queries[rows] @ block.T)
            gap[own[rows, None] == there] = np.inf
            _keep_nearest(*found[0], gap, rows, first)
            gap[codes[own[rows], None] == codes[there]] = np.inf
            _keep_nearest(*found[1], gap, rows, first)
        first += len(block)
    return [part for rows, gaps in found for part in (rows, np.sqrt(np.maximum(gaps, 0)))]


def _keep_nearest(places: Integers, gaps: Floats, gap: Floats, rows: slice, first: int) -> None:
    """Put what a block holds of nearer images among those found so far; most blocks hold none for most images."""
    count = gaps.shape[1]
    near = rows.start + np.flatnonzero(gap.min(axis=1) < gaps[rows, -1])
    part = gap[near - rows.start]
    new = np.argpartition(part, min(count, part.shape[1]) - 1, axis=1)[:, :count]
    both = np.hstack([gaps[near], np.take_along_axis(part, new, axis=1)])
    order = np.argsort(both, axis=1, kind="stable")[:, :count]
    gaps[near] = np.take_along_axis(both, order, axis=1)
    places[near] = np.take_along_axis(np.hstack([places[near], first + new]), order, axis=1)
