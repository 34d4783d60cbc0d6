"""How names are compared, and how Spark is told a path: Hadoop reads some signs in it its own way."""

import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fruits.errors import UsageError
from fruits.folders import is_remote


def compose(name: str) -> str:
    """Return a name in the form by which names are compared, NFC: file systems keep accents in two ways."""
    return unicodedata.normalize("NFC", name)


def to_uri(path: Path) -> str:
    """Spell a path for Spark's writers: a local one stays local, wherever Hadoop's own default lies."""
    # Not Path.as_uri(): Hadoop takes what follows the scheme as it is, and would write `%20` for a space.
    return str(path) if is_remote(path) else f"file://{path}"


@contextmanager
def readable_by_spark(path: Path, *, here: bool) -> Iterator[str]:
    """Spell a path for Spark's readers, which take `*?[]{}` in it for a pattern, and fail at a colon.

    Parameters
    ----------
    here
        Whether all of Spark is on this machine: then colons and commas are behind a link, during the block.
    """
    if not here or is_remote(path) or not re.search("[:,]", str(path)):
        yield _escape_glob(to_uri(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path)
        yield _escape_glob(to_uri(link))


def _escape_glob(spelling: str) -> str:
    # Some readers take a comma for the end of a path, whatever is put before it.
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", spelling).replace(",", "?")


def check_spelling(path: Path, *, key: str, here: bool) -> None:
    """Refuse a path that Spark cannot be told, before any work is lost on it.

    Parameters
    ----------
    key
        The parameter that names the path.
    here
        As in `readable_by_spark`.

    Raises
    ------
    UsageError
        Naming the parameter and the path.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{key} = {str(path)!r} is no text in UTF-8; name another folder, or set LC_ALL=C.UTF-8 if it is one."
        ) from error
    if ":" in str(path).partition("://")[2 if is_remote(path) else 0] and not (here and not is_remote(path)):
        raise UsageError(f"{key} = {path}: Hadoop cannot read a folder with a colon in its name; name another.")
