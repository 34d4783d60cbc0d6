"""Which images a run takes: classes by globs on their names, and the same few images every time."""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fruits.errors import UsageError, quote_first
from fruits.folders import compose

if TYPE_CHECKING:
    import pandas as pd


def match_classes(
    labels: Iterable[str], globs: Sequence[str], *, where: str, empty: Mapping[str, str] | None = None
) -> set[str]:
    """Return the classes that any of the globs matches; refuse a glob that matches no class with images.

    Case counts, the form of accents does not. A class whose name equals the glob is the only one it matches.
    `where` says what they are classes of; `empty` counts, by class folder, files that are ignored.
    """
    names, empty = set(labels), empty or {}
    found: set[str] = set()
    for glob in globs:
        matched = choose_classes(names | empty.keys(), [glob])
        if not matched & names:
            raise UsageError(f"classes: {_explain(sorted(names), glob, where=where, empty=empty, matched=matched)}")
        found |= matched & names
    return found


def choose_classes(labels: Iterable[str], globs: Sequence[str]) -> set[str]:
    """Return the classes that any of the globs matches, like `match_classes`, but let a glob match nothing."""
    names = set(labels)
    found: set[str] = set()
    for glob in globs:
        wanted = compose(glob)
        # A glob of `*` alone means all classes, even if one has that name.
        equal = {name for name in names if compose(name) == wanted} if glob.strip("*") else set()
        found |= equal or {name for name in names if fnmatchcase(compose(name), wanted)}
    return found


def _explain(names: Sequence[str], glob: str, *, where: str, empty: Mapping[str, str], matched: Iterable[str]) -> str:
    if held := [f"class folder {name!r} holds {empty[name]}" for name in sorted(matched)[:3]]:
        return f"{'; '.join(held)}. Convert or rename them, or ask for other classes than {glob!r}."
    wanted = compose(glob)
    near = [name for name in names if fnmatchcase(compose(name).casefold(), wanted.casefold())]
    near = near[:3] or difflib.get_close_matches(glob, names, n=3) or list(names[:3])
    return (
        f"{glob!r} matches none of the {len(names)} {where}; "
        f"there are, for example, {', '.join(map(repr, near)) or 'none at all'}."
    )


def select_images(images: "pd.DataFrame", *, max_images: int, seed: int) -> "pd.DataFrame":
    """Choose `max_images` images (0: all), class after class in turn, and sort them by path.

    Each class gives its images in the order of a hash of seed and path. So the choice depends neither on the order
    of the rows nor on the files of other classes. When a class has no images left, the other classes go on.
    """
    import pandas as pd

    if 0 < max_images < len(images):
        images = images.reset_index(drop=True)
        rank = images["path"].map(lambda path: _hash(seed, path))
        turn = rank.groupby(images["label"]).rank(method="first")
        class_order = images["label"].map({label: _hash(seed, label) for label in images["label"].unique()})
        order = pd.DataFrame({"turn": turn, "class": class_order}).sort_values(["turn", "class"]).index
        images = images.loc[order[:max_images]]
    return images.sort_values("path", ignore_index=True)


def describe_empty_classes(images: "pd.DataFrame", ignored: "pd.DataFrame") -> list[str]:
    """Name the class folders whose files are all ignored, given both listings of the same classes."""
    files = ignored.loc[~ignored["kind"].isin({"no class", "not in labels.csv", "hidden", "system"}), "path"]
    empty, full = ({path.rpartition("/")[0] for path in table} for table in (files, images["path"]))
    names = sorted({folder.rpartition("/")[2] for folder in empty - full - {""}})
    said = f"{len(names)} class folders hold no image: {quote_first(names)}; ignored.csv says why."
    return [said] if names else []


def _hash(seed: int, text: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return int.from_bytes(digest, "big")
