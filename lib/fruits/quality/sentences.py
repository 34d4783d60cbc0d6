"""What an evaluation found, in sentences for readers of a report."""

from collections.abc import Iterator

import numpy as np

from fruits.quality.components import find_components
from fruits.quality.evaluation import Quality
from fruits.quality.trial import ALL, Trial


def describe_quality(quality: Quality) -> str:
    """Return the findings as a list in Markdown; empty if nothing was evaluated."""
    return "\n".join(f"- {sentence}" for sentence in _list_sentences(quality))


def _list_sentences(quality: Quality) -> Iterator[str]:
    yield from map(_describe_trial, quality.trials)
    if quality.official and (share := quality.official.share_in_same_group()) is not None:
        yield (
            f"{100 * share:.1f}% of the test images of the official split have their nearest training image, by all "
            "features, in their own group and class. So that split mostly tests whether an image of the same group is "
            "found."
        )
    if quality.by_group and quality.pca:
        features = len(quality.pca.mean)
        k = find_components(quality.by_group, features=features)
        everything = _mean_accuracy(quality.by_group, ALL)
        enough = f"**All {k:,} features** are needed" if k == features else f"**{k:,} components** are enough"
        yield (
            f"{enough} for the nearest neighbour: of the numbers tried the smallest whose mean accuracy by group is "
            f"within one point of the best. With all features it is right for {everything}. As k is "
            "chosen on these tests, its accuracy is slightly too high."
        )
    if quality.above_chance is not None:
        yield (
            f"A second opinion, without labels: {quality.above_chance:,} components vary more than those of random "
            "features would (parallel analysis)."
        )
    if quality.by_group:
        yield "Both groups of a class may show the same object from other sides: no test here uses a new object."
    yield from quality.notes
    if quality.errors:
        yield f"{len(quality.errors):,} images to test on could not be read: `quality_errors.csv` says why."


def _describe_trial(trial: Trial) -> str:
    k, largest = trial.shown_k, trial.test["label"].value_counts(normalize=True).max()
    nearest, linear = (f"{100 * trial.right(name, k).mean():.1f}%" for name in ("nn1", "linear"))
    train, _, test = trial.name.partition("->")
    named = f"Group {train} to group {test}" if test else "Official"
    return (
        f"**{named}**: trained on {len(trial.train):,} images and tested on {len(trial.test):,}, the nearest neighbour "
        f"is right for {nearest} and the linear classifier for {linear}, with {k} components. Always the most frequent "
        f"class would be right for {100 * largest:.1f}%."
    )


def _mean_accuracy(trials: list[Trial], k: str) -> str:
    return f"{100 * np.mean([trial.right('nn1', k).mean() for trial in trials]):.1f}%"
