"""Globs on the names of classes."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from fruits.errors import UsageError


def match_classes(there: Iterable[str], globs: Sequence[str], *, where: str) -> set[str]:
    """Return the classes that any of the globs matches, case-sensitively.

    Parameters
    ----------
    there
        The classes that hold images.
    where
        What they are classes of, for the message: "class folders with images of data/Training".

    Raises
    ------
    UsageError
        Naming a glob that matches nothing, and what it may have meant.
    """
    names = sorted(set(there))
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            near = [name for name in names if fnmatchcase(name.casefold(), glob.casefold())]
            near = near[:3] or difflib.get_close_matches(glob, names, n=3) or names[:3]
            raise UsageError(
                f"classes: {glob!r} matches none of the {len(names)} {where}; "
                f"there are, for example, {', '.join(map(repr, near)) or 'none at all'}."
            )
    return {name for name in names if any(fnmatchcase(name, glob) for glob in globs)}
