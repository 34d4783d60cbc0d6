"""Names in figures: any text is drawn as it is, or spelt out where nothing can draw it."""

import io

import numpy as np
import pandas as pd
import pytest
from drawn import legend
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from fruits import plots
from fruits.plots import text


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def list_handles(ax: Axes) -> list[Collection]:
    drawn = ax.get_legend()
    assert drawn is not None
    return [handle for handle in drawn.legend_handles if isinstance(handle, Collection)]


def colour_of(dots: Collection) -> str:
    return to_hex(tuple(np.ravel(dots.get_facecolor())))


PLAIN = [
    "Kiwi $$", "Apple 2$ to 3$", r"a\$b $\frac{1}{2}$", "100% #1 ^2 {y} a_b", "<b>bold</b> & co", "_Apple", "__", "~",
    "苹果", "りんご", "사과", "تفاح أحمر", "سیب\u200cزمینی", "सेब", "แอปเปิ้ล", "תפוח", "яблоко", "🍎",
]  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_is_plain_text_in_every_figure(name: str) -> None:
    """Warnings are errors: a character without a glyph would raise one when the figure is drawn."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    bars, sheet, map_ = figure.subplots(1, 3)
    plots.plot_class_counts(pd.Series({name: 3, "Kiwi": 2}), ax=bars)
    plots.plot_contact_sheet([np.zeros((9, 9, 3), dtype=np.uint8)], [name], ax=sheet)
    plots.plot_scores(np.eye(2), [name, "Kiwi"], ax=map_, explained_variance_ratio=(0.5, 0.2))
    figure.savefig(io.BytesIO(), format="png")

    assert [label.get_text() for label in bars.get_yticklabels()] == [name, "Kiwi"]
    assert sheet.texts[0].get_text().replace("\n", " ") == name
    assert sorted(legend(map_)) == sorted([name, "Kiwi"])
    assert len(list_handles(map_)) == 2
    drawn = [found for found in figure.findobj(Text) if name in found.get_text()]
    assert not any(found.get_parse_math() or found.get_usetex() for found in drawn)
    assert plots.explain_undrawn([name, "Kiwi"]) == []


def test_the_legend_pairs_names_and_colours(ax: Axes) -> None:
    plots.plot_scores(np.array([[1.0, 1], [2, 2], [3, 3]]), ["b", "_a", "c"], ax=ax, explained_variance_ratio=(0, 0))

    drawn = {tuple(np.ravel(dots.get_offsets())): colour_of(dots) for dots in ax.collections}
    looks = [colour_of(handle) for handle in list_handles(ax)]
    assert dict(zip(legend(ax), looks, strict=True)) == {"b": drawn[1, 1], "_a": drawn[2, 2], "c": drawn[3, 3]}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (" ", "' '"),
        ("", "''"),
        ("\u200b", r"'\u200b'"),
        ("\u3000", r"'\u3000'"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\u202eb", r"a\u202eb"),
        ("\udcea", r"'\udcea'"),
        ("x\udcea", r"x\udcea"),
        ("a\u00a0b", "a\u00a0b"),
        ("x" * 41, "x" * 39 + "…"),
        ("果" * 21, "果" * 19 + "…"),
    ],
)
def test_what_cannot_be_seen_is_spelt_out(name: str, shown: str) -> None:
    assert text.show_name(name) == shown


def test_a_script_without_a_font_is_spelt_out_and_said(ax: Axes) -> None:
    """Tibetan; Matplotlib would draw boxes."""
    plots.plot_class_counts(pd.Series({"ཀ 1": 2, "Kiwi": 1}), ax=ax)

    assert [label.get_text() for label in ax.get_yticklabels()] == [r"\u0f40 1", "Kiwi"]
    assert plots.explain_undrawn(["ཀ 1", "Kiwi"]) == [
        "The figures have no font for U+0F40 and spell it out in the class names 'ཀ 1'."
    ]
    many = plots.explain_undrawn([chr(0xF40 + number) for number in range(8)])
    assert "U+0F44 and 3 others and" in many[0]


def test_without_the_fonts_their_scripts_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "FONT_PACKAGES", ("fruits_no_such_fonts",))
    text._fallback.cache_clear()

    assert text.show_name("苹果") == r"\u82f9\u679c"
    assert "U+679C, U+82F9" in plots.explain_undrawn(["苹果"])[0]
    text._fallback.cache_clear()
