"""How well a run tells its images apart: on the other split, and on groups of images that were not trained on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from fruits.embedding import embed
from fruits.errors import FruitsError, UsageError, explain_failures
from fruits.features.extraction import Computation
from fruits.images.rows import ErrorRow
from fruits.images.selection import select_images
from fruits.images.source import ImageSource
from fruits.jobs import keeps_threads, run_jobs
from fruits.pca import PCA
from fruits.quality.components import count_by_parallel_analysis, find_components
from fruits.quality.findings import Surroundings, look_around
from fruits.quality.groups import add_groups, find_pair
from fruits.quality.trial import COLUMNS, Trial, count_confusions, run_trial

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

OFFICIAL = "official"
OTHER_SPLIT = {"Training": "Test", "Test": "Training"}
ARROW = "->"


def select_tests(
    source: ImageSource,
    images: pd.DataFrame,
    *,
    split: str,
    against: str = "",
    max_images: int = 0,
    seed: int = 0,
    wanted: bool = True,
) -> tuple[pd.DataFrame, str]:
    """Select the images that a run is tested on: those of the other split, of the same classes.

    Without `against`, that is Test for Training, and Training for Test. If there are none, the text says why; a split
    without images that `against` names raises UsageError instead.
    """
    if not wanted:
        return images[:0], "Nothing was evaluated (evaluate = false)."
    other = against or OTHER_SPLIT.get(split, "")
    if not other:
        return images[:0], f"There is no other split to test {split} on; name one by --against."
    try:
        found = source.list_images(split=other, classes=["*"])
    except UsageError as error:
        if against:
            raise
        return images[:0], f"No other split was tested: {error}"
    found = found[found["label"].isin(images["label"]) & ~found["path"].isin(images["path"])]
    said = "" if len(found) else f"No other split was tested: no other image of {other} is of a class of this run."
    return select_images(found, max_images=max_images, seed=seed), said


def evaluate_quality(
    spark: "SparkSession",
    images: pd.DataFrame,
    tests: Computation,
    *,
    pca: PCA,
    store: "Path",
    group: str,
    seed: int = 0,
    wanted: bool = True,
) -> "Quality":
    """Measure how well images are told apart: on the other split, and on groups that were not trained on.

    All images have features in the store; `tests` are those to test on, `group` is the pattern of `add_groups`.
    """
    if not wanted:
        return Quality()
    trained, tested = (add_groups(table, group) for table in (images, tests.images))
    images = pd.concat([trained, tested], ignore_index=True).sort_values("path", ignore_index=True)
    plan = list(_plan_trials(trained, tested, images))

    def run(name: str, train: pd.DataFrame, test: pd.DataFrame) -> Trial | str:
        if train["label"].nunique() < 2 or test.empty:
            return f"{name}: not evaluated; it needs two classes or more, in training and in test images."
        try:
            return run_trial(spark, name, train, test, pca=pca, store=store, fitted=name == OFFICIAL)
        except FruitsError as error:
            return f"{name}: not evaluated; {error}"

    jobs: dict[str, Callable[[], Any]] = {f"quality, {name}": partial(run, name, *parts) for name, *parts in plan}
    jobs["quality, neighbours"] = partial(look_around, spark, images, pca=pca, store=store)
    with explain_failures("the evaluation"):
        at_once = len(jobs) if keeps_threads(spark.sparkContext) else 1
        *found, around = run_jobs(spark.sparkContext, jobs, at_once=at_once)
    trials = [trial for trial in found if isinstance(trial, Trial)]
    notes = [note for note in found if isinstance(note, str)]
    if not find_pair(images):
        notes.append("By group: not evaluated; the parameter `group` finds fewer than two groups in file names.")
    return Quality(trials=trials, notes=notes, errors=tests.errors, around=around, pca=pca, seed=seed)


def _plan_trials(
    trained: pd.DataFrame, tested: pd.DataFrame, images: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    if not tested.empty:
        yield OFFICIAL, trained, tested[tested["label"].isin(trained["label"])]
    if not (pair := find_pair(images)):
        return
    parts = {name: images[images["group"] == name] for name in sorted(pair)}
    both = set.intersection(*(set(part["label"]) for part in parts.values()))
    for names in (list(parts), list(parts)[::-1]):
        train, test = (parts[name][parts[name]["label"].isin(both)] for name in names)
        yield ARROW.join(names), train, test


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """What an evaluation found: trials, why others are missing, images to test on that could not be read.

    `around`, the neighbours of all images, and `pca` are None if nothing was evaluated.
    """

    trials: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[ErrorRow] = field(default_factory=list)
    around: Surroundings | None = None
    pca: PCA | None = None
    seed: int = 0

    @cached_property
    def above_chance(self) -> int | None:
        """How many components vary more than by chance: see `count_by_parallel_analysis`."""
        return count_by_parallel_analysis(self.pca, seed=self.seed) if self.pca else None

    @cached_property
    def accuracies(self) -> pd.DataFrame:
        """The table `quality.csv`: split, k, classifier (str), accuracy, low, high (float64), train, test (int64)."""
        tables = [trial.tabulate(seed=self.seed) for trial in self.trials]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame([], columns=COLUMNS)

    @cached_property
    def confusions(self) -> pd.DataFrame:
        """The table of `count_confusions`, by group."""
        return count_confusions(self.by_group)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that a run saves, by their paths below its results; none if nothing was evaluated."""
        if self.around is None:
            return {}
        return {
            "model_info/quality.csv": self.accuracies,
            "model_info/confusions.csv": self.confusions,
            "model_info/suspects.csv": self.around.list_suspects(),
            "model_info/duplicates.csv": self.around.list_duplicates(),
            "errors/quality_errors.csv": pd.DataFrame(self.errors, columns=ErrorRow._fields),
        }

    @property
    def official(self) -> Trial | None:
        """The trial on the other split."""
        return next((trial for trial in self.trials if trial.name == OFFICIAL), None)

    @property
    def by_group(self) -> list[Trial]:
        """The trials on groups."""
        return [trial for trial in self.trials if trial.name != OFFICIAL]

    @property
    def left_out(self) -> int:
        """How many classes the trials on groups leave out, because not both groups have images of them."""
        if not (self.around and self.by_group):
            return 0
        return int(self.around.images["label"].nunique() - self.by_group[0].train["label"].nunique())

    def rate_classes(self) -> pd.DataFrame:
        """Return for each class, by name, the accuracy of the nearest neighbour: official and by_group (float64)."""
        columns = {}
        for name, trials in (("official", [self.official] if self.official else []), ("by_group", self.by_group)):
            right = [trial.mark_right("nn1", trial.shown_k) for trial in trials]
            columns[name] = pd.concat(right).groupby("label")["right"].mean() if right else pd.Series(dtype=float)
        return pd.DataFrame(columns).rename_axis("label").sort_index()

    def list_points(self, *, embedded: bool = True) -> pd.DataFrame:
        """Return the points of the atlas: see `Surroundings.list_points`; empty if nothing was evaluated."""
        trials = [*self.by_group, *([self.official] if self.official else [])]
        right = [trial.mark_right("nn1", trial.shown_k).set_index("path")["right"] for trial in trials]
        known = pd.concat(right) if right else pd.Series(dtype=bool)
        if self.around is None:
            return pd.DataFrame()
        points = self.around.list_points(known[~known.index.duplicated()])
        if embedded and (places := embed(self.around.scores)) is not None:
            points = points.assign(embedding_x=places[:, 0], embedding_y=places[:, 1])
        return points

    def describe(self) -> dict[str, Any] | None:
        """Return the part of the manifest; None if nothing was evaluated."""
        if not self.pca:
            return None
        features = len(self.pca.mean)
        parts = {trial.name: trial.describe(features=features, seed=self.seed) for trial in self.trials}
        official = parts.pop(OFFICIAL, None)
        for trial in self.by_group:
            parts[trial.name]["classes_left_out"] = self.left_out
        return {
            "official": official,
            "by_group": parts or None,
            "nearest_in_same_group": self.official.share_in_same_group() if self.official else None,
            "components_within_one_point": {
                "official": find_components([self.official] if self.official else [], features=features),
                "by_group": find_components(self.by_group, features=features),
            },
            "components_by_parallel_analysis": self.above_chance,
            "notes": self.notes,
        }
