"""The figures of a run: a `plot_` function takes data and the `ax` to draw on, and returns that `ax`."""

from fruits.plots.images import figure_height, plot_class_counts, plot_contact_sheet
from fruits.plots.scores import plot_scores
from fruits.plots.text import PLAIN_TEXT, explain_undrawn
from fruits.plots.variance import draw_variance, plot_cumulative, plot_scree

__all__ = [
    "PLAIN_TEXT",
    "draw_variance",
    "explain_undrawn",
    "figure_height",
    "plot_class_counts",
    "plot_contact_sheet",
    "plot_cumulative",
    "plot_scores",
    "plot_scree",
]
