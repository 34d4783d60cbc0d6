"""Names of any kind as plain text in figures."""

import functools
import importlib.util
import itertools
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

# For `matplotlib.rcParams`: neither LaTeX, which may not be there, nor Matplotlib's own formulas.
PLAIN_TEXT = {"text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False}
# They hold fonts and nothing else. Where one is not installed, as on EMR, its scripts are spelt out.
FONT_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_jp_regular")
_BASE = "DejaVu Sans"  # Matplotlib brings it
# Marks inside words that have no look of their own: Persian and Indian scripts, emoji, directions.
_JOINERS = "\u200c\u200d\u200e\u200f"
MAX_WIDTH = 40


def set_plainly(ax: Axes) -> None:
    """Let no text of an axes be read as TeX or a formula, and let those in other scripts find their fonts."""
    for text in ax.findobj(Text):
        text.set(parse_math=False, usetex=False)
        if any(ord(sign) not in _base() for sign in text.get_text()):
            text.set_fontfamily([*text.get_fontfamily(), *_fallback()[0]])


def show_name(name: str) -> str:
    """Return a name as a figure shows it: on one line, visible, at most 40 columns wide.

    Control characters, invisible ones and those that no font here has are spelt out by their codes; a name of blanks
    alone is quoted.
    """
    if not any(sign.isprintable() and not sign.isspace() for sign in name):
        return ascii(name)
    shown = "".join(sign if _is_shown(sign) else sign.encode("unicode_escape").decode() for sign in name)
    reach = list(itertools.accumulate(count_columns(sign) for sign in shown))
    return shown if reach[-1] <= MAX_WIDTH else shown[: sum(end < MAX_WIDTH for end in reach)] + "…"


def count_columns(text: str) -> int:
    """Return how many columns a text takes: East Asian characters are twice as wide as others."""
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def explain_undrawn(names: Iterable[str], *, quote: Callable[[str], str] = repr) -> list[str]:
    """Return a sentence about the names that the figures cannot draw as they are, or nothing if there are none."""
    lacks = {name: {sign for sign in name if sign.isprintable() and not _has_font(sign)} for name in sorted(set(names))}
    signs = sorted(set().union(*lacks.values()))
    if not signs:
        return []
    codes = _list_some([f"U+{ord(sign):04X}" for sign in signs])
    undrawn = _list_some([quote(name) for name, found in lacks.items() if found])
    return [f"The figures have no font for {codes} and spell it out in the class names {undrawn}."]


def _list_some(texts: list[str], *, most: int = 5) -> str:
    return ", ".join(texts[:most]) + f" and {len(texts) - most} others" * (len(texts) > most)


def _is_shown(sign: str) -> bool:
    return sign in _JOINERS or ((sign.isprintable() or unicodedata.category(sign) == "Zs") and _has_font(sign))


def _has_font(sign: str) -> bool:
    return ord(sign) in _base() or ord(sign) in _fallback()[1]


@functools.cache
def _base() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(_BASE)).get_charmap())


@functools.cache
def _fallback() -> tuple[list[str], frozenset[int]]:
    """Make the fonts of the packages known to Matplotlib; return their families and the characters they have."""
    families, signs = [_BASE], set[int]()
    for package in FONT_PACKAGES:
        found = importlib.util.find_spec(package)
        for file in sorted(Path(found.origin).parent.glob("*.[ot]tf")) if found and found.origin else []:
            font = FT2Font(str(file))
            font_manager.fontManager.addfont(str(file))
            families.append(font.family_name)
            signs |= font.get_charmap().keys()
    return list(dict.fromkeys(families)), frozenset(signs)
