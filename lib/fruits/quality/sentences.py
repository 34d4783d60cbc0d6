"""What an evaluation found, in sentences for readers of a report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fruits.quality.components import find_components
from fruits.quality.evaluation import Quality
from fruits.quality.trial import ALL, Trial

if TYPE_CHECKING:
    import pandas as pd


def describe_quality(quality: Quality) -> str:
    """Return the findings as a list in Markdown; empty if nothing was evaluated."""
    return "\n".join(f"- {sentence}" for sentence in _list_sentences(quality))


def _list_sentences(quality: Quality) -> Iterator[str]:
    for trial in quality.trials:
        yield _describe_trial(trial, quality.accuracies)
    if quality.left_out:
        yield f"Classes left out of the tests by group, as not both groups have images of them: {quality.left_out:,}."
    if quality.official and (share := quality.official.share_in_same_group()) is not None:
        yield (
            f"{100 * share:.1f}% of the test images of the official split have their nearest training image, by all "
            "features, in their own group and class. So that split mostly tests whether an image of the same group is "
            "found."
        )
    if quality.by_group and quality.pca:
        features = len(quality.pca.mean)
        k = find_components(quality.by_group, features=features)
        everything = np.mean([trial.right("nn1", ALL).mean() for trial in quality.by_group])
        enough = f"**All {k:,} features** are needed" if k == features else f"**{k:,} components** are enough"
        yield (
            f"{enough} for the nearest neighbour: of the numbers tried the smallest whose mean accuracy by group is "
            f"within one point of the best. With all features it is right for {everything:.1%}. As k is "
            "chosen on these tests, its accuracy is slightly too high."
        )
    if quality.above_chance is not None:
        yield (
            f"A second opinion, without labels: {quality.above_chance:,} components vary more than those of random "
            "features would (parallel analysis)."
        )
    if quality.by_group:
        yield "Both groups of a class may show the same object from other sides: no test here uses a new object."
    if quality.around:
        pairs = quality.around.list_duplicates()
        exact, across = (pairs["kind"] == "exact").sum(), (pairs["split"] != pairs["other_split"]).sum()
        yield (
            f"Suspects: {len(quality.around.list_suspects()):,} images. Duplicates: {exact:,} pairs of images are "
            f"equal and {len(pairs) - exact:,} nearly equal; {across:,} of these pairs lie across the splits."
        )
    yield from quality.notes
    if quality.errors:
        yield f"{len(quality.errors):,} images to test on could not be read: `quality_errors.csv` says why."


def _describe_trial(trial: Trial, accuracies: "pd.DataFrame") -> str:
    k, frequent = trial.shown_k, trial.test["label"].value_counts(normalize=True)
    train, _, test = trial.name.partition("->")
    named = f"Group {train} to group {test}" if test else "Official"
    rows = accuracies[(accuracies["split"] == trial.name) & (accuracies["k"] == k)]
    nearest, linear = (
        f"{100 * row.accuracy:.1f}% (95 % interval: {100 * row.low:.1f} to {100 * row.high:.1f})"
        for row in rows.itertuples()
    )
    return (
        f"**{named}**: trained on {len(trial.train):,} images and tested on {len(trial.test):,} of {len(frequent):,} "
        f"classes, with {k} components, the nearest neighbour is right for {nearest} and the linear classifier for "
        f"{linear}. Always the most frequent class would be right for {100 * frequent.max():.1f}%."
    )
