"""The figures, by what was drawn: bars, lines, marks and texts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import Array
from drawn import bars, legend, points
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fruits import plots
from fruits.plots import style

SHARE = np.array([0.5, 0.25, 0.125, 0.0625])


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def texts(ax: Axes) -> str:
    return " | ".join(text.get_text().strip() for text in ax.texts)


def names(ax: Axes) -> list[str]:
    return [label.get_text().strip() for label in ax.get_yticklabels()]


def drawn_points(ax: Axes) -> Array:
    return np.vstack([collection.get_offsets() for collection in ax.collections])


@pytest.mark.parametrize(("marked", "pale", "said"), [(0, 0, ""), (2, 2, "component 2: 25%")])
def test_scree_draws_the_shares_in_percent_and_marks_the_first(ax: Axes, marked: int, pale: int, said: str) -> None:
    assert plots.plot_scree(SHARE, ax=ax, **({"marked": marked} if marked else {})) is ax

    assert [bar.get_height() for bar in bars(ax)] == [50, 25, 12.5, 6.25]
    colours = [style.BLUE.lower()] * (4 - pale) + [style.PALE_BLUE.lower()] * pale
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == colours
    assert said in texts(ax)


@pytest.mark.parametrize("count", [1, 2, 99, 200])
def test_scree_shows_every_component_and_whole_numbers(ax: Axes, count: int) -> None:
    plots.plot_scree(np.full(count, 1 / count), ax=ax, marked=count)

    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert len(ax.patches) == count
    assert ticks
    assert all(tick == int(tick) for tick in ticks)
    assert high > count


def test_cumulative_marks_where_the_target_is_reached(ax: Axes) -> None:
    plots.plot_cumulative(SHARE.cumsum(), ax=ax, target=0.75)

    curve, end, target, mark = ax.lines
    assert points(curve).tolist() == [[1, 50], [2, 75], [3, 87.5], [4, 93.75]]
    assert points(end).tolist() == [[4, 93.75]]
    assert points(target)[:, 1].tolist() == [75, 75]
    assert points(mark).tolist() == [[2, 0], [2, 75]]
    assert texts(ax) == "75% reached with 2 components | target\n75% | k = 4\n93.7%"


@pytest.mark.parametrize("target", [0.9, 0.93, 0.94, 0.95, 0.99])
def test_the_notes_in_the_margin_do_not_touch(ax: Axes, target: float) -> None:
    plots.plot_cumulative(SHARE.cumsum(), ax=ax, target=target)

    goal, end = (text.get_position()[1] for text in ax.texts[-2:])
    assert abs(goal - end) >= 11
    reached = target <= SHARE.sum()
    assert len(ax.lines) == 3 + reached
    assert reached or f"{100 * target:.0f}% not reached with 4 components" in texts(ax)


def test_one_component_is_enough_for_both_panels() -> None:
    figure = Figure()
    assert plots.draw_variance(np.array([1.0]), figure=figure, target=0.9) is figure

    left, right = figure.axes
    assert "component 1: 100%" in texts(left)
    assert "90% reached with 1 component |" in texts(right)
    assert plt.get_fignums() == []  # pyplot is left alone


def test_no_variance_is_told_in_words() -> None:
    figure = plots.draw_variance(np.zeros(3), figure=Figure(), target=0.9)

    for ax in figure.axes:
        assert "the features do not vary" in texts(ax)
        assert ax.get_ylim()[1] > 0


def test_scores_of_two_images(ax: Axes) -> None:
    scores = np.array([[1.0, 2.0], [3.0, 4.0]])

    assert plots.plot_scores(scores, ["Pear", "Apple Red 1"], ax=ax, explained_variance_ratio=(0.123, 0)) is ax

    assert legend(ax) == ["Apple Red 1", "Pear"]
    assert sorted(map(tuple, drawn_points(ax))) == [(1, 2), (3, 4)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PC1 (12.3 % of the variance)", "PC2 (0.0 % of the variance)")
    assert ax.get_title() == "2 images on the first two components"


def test_up_to_14_classes_look_different(ax: Axes) -> None:
    labels = [f"Apple {place:02}" for place in range(14)]

    plots.plot_scores(np.zeros((14, 2)), labels, ax=ax, explained_variance_ratio=(0, 0))

    looks = {(tuple(np.ravel(c.get_facecolor())), np.shape(c.get_paths()[0].vertices)) for c in ax.collections}
    assert legend(ax) == labels
    assert len(looks) == 14


def test_many_classes_are_grouped_by_their_first_word(ax: Axes) -> None:
    labels = [f"Apple {n}" for n in range(13)] + [f"Pear {n}" for n in range(9)] + [f"Fruit{n:03}" for n in range(109)]

    plots.plot_scores(np.zeros((131, 2)), labels, ax=ax, explained_variance_ratio=(0, 0))

    entries = legend(ax)
    assert len(entries) == 14
    assert entries[:3] == ["Apple (13 classes)", "Fruit000", "Fruit001"]
    assert entries[-2:] == ["Pear (9 classes)", "others (98 classes)"]
    assert len(drawn_points(ax)) == 131
    labels = [f"Apple {n:02}" for n in range(20)]  # of one fruit: not one group
    apples = plots.plot_scores(np.zeros((20, 2)), labels, ax=Figure().subplots(), explained_variance_ratio=(0, 0))
    assert legend(apples) == [*labels[:13], "others (7 classes)"]


def test_many_images_are_thinned_alike_and_always_the_same(ax: Axes) -> None:
    rows = np.arange(60_000.0)
    scores, labels = np.column_stack([rows, rows]), ["Apple", "Apple", "Pear"] * 20_000

    plots.plot_scores(scores, labels, ax=ax, explained_variance_ratio=(0, 0))
    again = plots.plot_scores(scores, labels, ax=Figure().subplots(), explained_variance_ratio=(0, 0))

    drawn = {collection.get_label(): len(np.asarray(collection.get_offsets())) for collection in ax.collections}
    assert sum(drawn.values()) == 20_000
    assert drawn["Pear"] == pytest.approx(20_000 / 3, abs=1)
    assert ax.get_title() == "60,000 images on the first two components (20,000 drawn, every class thinned alike)"
    np.testing.assert_array_equal(drawn_points(ax), drawn_points(again))


def test_scores_of_one_component_lie_on_a_line(ax: Axes) -> None:
    plots.plot_scores(np.array([[1.0], [2.0], [4.0]]), ["a", "a", "b"], ax=ax, explained_variance_ratio=[1.0])

    np.testing.assert_array_equal(np.sort(drawn_points(ax)[:, 0]), [1, 2, 4])
    assert not drawn_points(ax)[:, 1].any()


def test_class_counts_are_sorted_and_numbered(ax: Axes) -> None:
    counts = pd.Series({"Pear": 2, "Kiwi": 1, "Apple": 2, "Lemon": 1200})

    assert plots.plot_class_counts(counts, ax=ax) is ax

    assert names(ax) == ["Lemon", "Apple", "Pear", "Kiwi"]
    assert [bar.get_width() for bar in bars(ax)] == [1200, 2, 2, 1]
    assert texts(ax) == "1,200 | 2 | 2 | 1"
    assert ax.get_title() == "1,205 images in 4 classes"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    one = plots.plot_class_counts(pd.Series({"Apple": 3}), ax=Figure().subplots())
    assert (names(one), one.get_title()) == (["Apple"], "3 images in 1 class")


def test_of_many_classes_the_ends_are_named(ax: Axes) -> None:
    counts = pd.Series({f"class {n:03}": 1000 - n for n in range(131)})

    plots.plot_class_counts(counts, ax=ax)

    assert len(ax.patches) == 131
    assert names(ax)[:15] == [f"class {n:03}" for n in range(15)]
    assert names(ax)[15:30] == [f"class {n:03}" for n in range(116, 131)]
    assert names(ax)[30] == "101 classes between"


def test_figure_height_grows_with_the_classes_to_a_page() -> None:
    heights = [plots.figure_height(count) for count in (1, 13, 40, 131)]

    assert 1 < heights[0] < heights[1] < heights[2] < 11
    assert heights[3] < 12


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (5, 1), (13, 3)])
def test_contact_sheet_holds_every_image(ax: Axes, count: int, rows: int) -> None:
    images = [np.full((100, 100, 3), n, dtype=np.uint8) for n in range(count)]

    assert plots.plot_contact_sheet(images, [f"class {n}" for n in range(count)], ax=ax) is ax

    assert [np.asarray(image.get_array())[0, 0, 0] for image in ax.images] == list(range(count))
    assert [text.get_text() for text in ax.texts] == [f"class {n}" for n in range(count)]
    assert ax.get_xlim() == (0, 5)
    assert ax.get_ylim()[0] == pytest.approx(1.36 * rows)


def test_contact_sheet_keeps_proportions_and_shortens_titles(ax: Axes) -> None:
    plots.plot_contact_sheet([np.zeros((100, 50, 3), dtype=np.uint8)], ["Melon Piel de Sapo from far away"], ax=ax)

    left, right, bottom, top = ax.images[0].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(2)
    assert texts(ax) == "Melon Piel de\nSapo from …"


@pytest.mark.parametrize(("classes", "said"), [(131, ""), (250, "119 of 250 classes are not shown")])
def test_every_class_is_on_a_sheet_and_the_last_says_how_many_are_not(classes: int, said: str) -> None:
    examples = [(f"class {n:03}", np.full((9, 9, 3), n, np.uint8)) for n in range(131)]

    sheets = plots.draw_contact_sheets(examples, classes=classes, new_figure=Figure)

    assert [len(sheet.axes[0].images) for sheet in sheets] == [30, 30, 30, 30, 11]
    assert [text.get_text() for sheet in sheets for text in sheet.axes[0].texts] == [label for label, _ in examples]
    assert sheets[-1].axes[0].get_title() == said
    assert max(sheet.get_size_inches()[1] for sheet in sheets) < 9  # a page of paper


def test_ends_are_the_outermost_images_of_different_classes() -> None:
    scores = np.array([np.arange(100.0), -(np.arange(100.0) ** 2)]).T
    labels = ["a", "a", "a", "b", "a", *["c"] * 95]

    ends = plots.find_ends(scores, labels, count=3)

    assert ends.tolist() == [[[0, 1, 3], [97, 98, 99]], [[99, 98, 97], [3, 1, 0]]]
    assert plots.find_ends(scores[:2], labels).tolist() == [[[0, 1], [0, 1]], [[1, 0], [1, 0]]]


def test_ends_are_drawn_in_rows_with_their_classes(ax: Axes) -> None:
    ends, labels = np.array([[[0, 1], [2, 3]]]), ["Kiwi", "Kiwi", "Pear", "Plum"]
    images = [np.full((9, 9, 3), n, np.uint8) for n in range(4)]

    assert plots.plot_ends(ends, images, labels, ax=ax, explained_variance_ratio=[0.5, 0.2]) is ax

    assert [np.asarray(image.get_array())[0, 0, 0] for image in ax.images] == [0, 1, 2, 3]
    left = [image.get_extent()[0] for image in ax.images]
    assert left == sorted(left)
    assert texts(ax) == "PC1 (50.0 % of the variance) | Kiwi | Pear, Plum"
    assert isinstance(ax.figure, Figure)
    assert plots.describe_figure(ax.figure) == "PC1 (50.0 % of the variance): Kiwi against Pear, Plum"


def test_a_figure_says_what_it_shows() -> None:
    figure = plots.draw_variance(SHARE, figure=Figure(), target=0.75)
    said = plots.describe_figure(figure)
    assert "Variance of each component of 4: the first holds 50%, the last 6.25%" in said
    assert "93.7% with k = 4; 75% reached with 2 components" in said
    bars = Figure()
    plots.plot_class_counts(pd.Series({"Pear": 2, "Kiwi": 1}), ax=bars.subplots())
    assert plots.describe_figure(bars) == "3 images in 2 classes, from 1 of Kiwi to 2 of Pear"


def test_data_without_a_label_or_title_each_are_refused(ax: Axes) -> None:
    with pytest.raises(ValueError, match="zip"):
        plots.plot_contact_sheet([np.zeros((2, 2, 3), dtype=np.uint8)], [], ax=ax)
    with pytest.raises(ValueError, match=r"shape \(3,\); with 3 labels it must be \(3, k\)"):
        plots.plot_scores(np.zeros(3), ["a", "b", "c"], ax=ax, explained_variance_ratio=[1.0])
