"""Globs on the names of classes."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from fruits.errors import UsageError
from fruits.folders import compose


def choose_classes(there: Iterable[str], globs: Sequence[str]) -> set[str]:
    """Return the classes that any of the globs matches, as `match_classes` has it; none is refused."""
    names = set(there)
    return {name for glob in globs for name in _match(names, glob)}


def _match(names: set[str], glob: str) -> set[str]:
    """Take the class that is called like the glob; a glob of `*` alone is all, whatever is called so."""
    wanted = compose(glob)
    called = {name for name in names if compose(name) == wanted} if glob.strip("*") else set()
    return called or {name for name in names if fnmatchcase(compose(name), wanted)}


def match_classes(
    there: Iterable[str], globs: Sequence[str], *, where: str, untaken: Mapping[str, str] | None = None
) -> set[str]:
    """Return the classes that any of the globs matches.

    Case counts, the form of accents does not. A class that is called like the glob itself is the only one it matches.

    Parameters
    ----------
    there
        The classes that hold images.
    where
        What they are classes of, for the message: "class folders with images of data/Training".
    untaken
        Class folders that hold files and no image, with what they hold.

    Raises
    ------
    UsageError
        Naming a glob that matches nothing, and what it may have meant or why nothing there is taken.
    """
    names, untaken = set(there), untaken or {}
    found: set[str] = set()
    for glob in globs:
        matched = _match(names | untaken.keys(), glob)
        if not matched & names:
            raise UsageError(f"classes: {_explain(sorted(names), glob, where=where, untaken=untaken, matched=matched)}")
        found |= matched & names
    return found


def _explain(names: Sequence[str], glob: str, *, where: str, untaken: Mapping[str, str], matched: Iterable[str]) -> str:
    if held := [f"class folder {name!r} holds {untaken[name]}" for name in sorted(matched)[:3]]:
        return f"{'; '.join(held)}. Convert or rename them, or ask for other classes than {glob!r}."
    wanted = compose(glob)
    near = [name for name in names if fnmatchcase(compose(name).casefold(), wanted.casefold())]
    near = near[:3] or difflib.get_close_matches(glob, names, n=3) or list(names[:3])
    return (
        f"{glob!r} matches none of the {len(names)} {where}; "
        f"there are, for example, {', '.join(map(repr, near)) or 'none at all'}."
    )
