"""The figures of a run: a `plot_` function takes data and the `ax` to draw on, and returns that `ax`."""

from fruits.plots.comparison import plot_run_accuracies, plot_stage_seconds, plot_variance_curves
from fruits.plots.ends import find_ends, plot_ends
from fruits.plots.images import (
    MAX_EXAMPLES,
    draw_contact_sheets,
    figure_height,
    plot_class_counts,
    plot_contact_sheet,
    plot_pairs,
)
from fruits.plots.quality import WORST, draw_accuracy, plot_accuracy, plot_class_accuracy
from fruits.plots.scores import plot_scores
from fruits.plots.spark import draw_spark, plot_stages, plot_tasks
from fruits.plots.style import FIGURES, WIDTH, describe_figure
from fruits.plots.text import explain_undrawn
from fruits.plots.variance import draw_variance, plot_cumulative, plot_scree

__all__ = [
    "FIGURES",
    "MAX_EXAMPLES",
    "WIDTH",
    "WORST",
    "describe_figure",
    "draw_accuracy",
    "draw_contact_sheets",
    "draw_spark",
    "draw_variance",
    "explain_undrawn",
    "figure_height",
    "find_ends",
    "plot_accuracy",
    "plot_class_accuracy",
    "plot_class_counts",
    "plot_contact_sheet",
    "plot_cumulative",
    "plot_ends",
    "plot_pairs",
    "plot_run_accuracies",
    "plot_scores",
    "plot_scree",
    "plot_stage_seconds",
    "plot_stages",
    "plot_tasks",
    "plot_variance_curves",
]
