"""The figures of Spark's stages and tasks, by what was drawn."""

import numpy as np
import pandas as pd
import pytest
from drawn import bars
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fruits import plots
from fruits.plots import style


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def stages(*rows: tuple[float, float, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["started", "seconds", "failed"]).astype({"seconds": float})
    return table.assign(stage=range(len(table)), name="collect at pca.py:7", tasks=3)


def tasks(*rows: tuple[int, str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["stage", "executor", "started", "seconds"]).astype({"seconds": float})


def spans(ax: Axes) -> list[tuple[float, float, float]]:
    """Return row, start and length of each bar: of stages a patch, of the tasks of an executor a collection."""
    boxes = [path.get_extents() for tasks in ax.collections for path in tasks.get_paths()]
    boxes += [bar.get_path().get_extents(bar.get_patch_transform()) for bar in bars(ax)]
    return [(round((box.y0 + box.y1) / 2, 6), box.x0, round(box.width, 6)) for box in boxes]


def test_a_stage_is_a_bar_from_its_start_to_its_end(ax: Axes) -> None:
    assert plots.plot_stages(stages((1, 4, 0), (5, 45, 2), (90, 10, 0)), ax=ax) is ax

    assert spans(ax) == [(0, 1, 4), (1, 5, 45), (2, 90, 10)]
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [
        *(style.BLUE.lower(), style.RED.lower(), style.BLUE.lower())
    ]
    assert ax.get_ylim() == (2.5, -0.5)  # the first is on top
    assert [text.get_text().strip() for text in ax.texts] == [f"{n}: collect at pca.py:7, 3 tasks" for n in range(3)]
    # Inside the axes: right of an early bar, left of a late one.
    assert [(text.get_position()[0], text.get_horizontalalignment()) for text in ax.texts] == [
        (5, "left"),
        (50, "left"),
        (90, "right"),
    ]
    assert ax.get_label() == "3 stages of Spark over 100 s; the longest is collect at pca.py:7"


def test_the_longest_of_many_stages_are_named(ax: Axes) -> None:
    plots.plot_stages(stages(*((n, 1 + n, 0) for n in range(40))), ax=ax)
    assert len(ax.patches) == 40
    assert [text.get_text().split(":")[0].strip() for text in ax.texts] == [str(n) for n in range(28, 40)]


def test_tasks_at_one_time_lie_in_lanes(ax: Axes) -> None:
    several = tasks((0, "2", 0, 10), (0, "1", 0, 10), (0, "1", 1, 4), (1, "1", 4.9, 4), (1, "1", 9.999, 5))

    assert plots.plot_tasks(several, ax=ax) is ax

    # Executor 1 has two lanes; a task may begin before the end of the one in its place is noted.
    assert spans(ax) == [(0, 0, 10), (1, 1, 4), (1, 4.9, 4), (0, 9.999, 5), (2, 0, 10)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2"]
    assert list(ax.get_yticks()) == [0.5, 2]
    colours = [to_hex(colour) for tasks in ax.collections for colour in np.asarray(tasks.get_facecolor())]
    assert colours == [style.PALETTE[stage].lower() for stage in (0, 0, 1, 1, 0)]
    assert ax.get_label() == "5 tasks; executors: 1, 2; at most 3 tasks at one time"


def test_a_short_task_is_seen_and_nothing_is_drawn_of_nothing(ax: Axes) -> None:
    plots.plot_tasks(tasks((0, "1", 0, 1000), (1, "1", 1000, 0)), ax=ax)
    assert spans(ax)[1][2] == 2

    upper, lower = Figure().subplots(2)
    assert not plots.plot_stages(stages(), ax=upper).patches
    assert plots.plot_tasks(tasks(), ax=lower).get_label() == "0 tasks; executors: none; at most 0 tasks at one time"
