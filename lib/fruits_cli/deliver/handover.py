"""The three files that are handed in: their names, and how they are written."""

import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from fruits import folders
from fruits.errors import UsageError
from fruits.ownership import DELIVERABLES
from fruits_cli.deliver.facts import find_run
from fruits_cli.deliver.images import make_images
from fruits_cli.deliver.language import Language
from fruits_cli.deliver.notebook import make_notebook
from fruits_cli.deliver.presentation import make_presentation
from fruits_cli.deliver.screenshots import read_screenshots

_MOST_BYTES = 200  # of a name: a file system takes 255, and the suffixes come on top


def deliver_run(
    name: str,
    *,
    author: str,
    language: str,
    target: str,
    settings: Mapping[str, str],
    say: Callable[[str], None],
    screenshots: Path | None = None,
) -> list[Path]:
    """Make the deliverables of a finished run, in its report folder, and return their paths.

    All are made before the first is written, so that a failure leaves the earlier ones as they are.
    """
    spelt = spell_author(author)
    run, spoken = find_run(name, target=target, settings=settings), Language(language)
    month = datetime.fromisoformat(run.manifest["started"]).strftime("%m%Y")
    pictures, others = read_screenshots(screenshots) if screenshots else ([], [])
    if others:
        say(f"not pictures, and left out: {', '.join(others)}")
    files = {
        f"{spelt}_1_notebook_{month}.ipynb": make_notebook(run.report / "run.ipynb", language=language),
        f"{spelt}_2_images_{month}.pdf": make_images(run, author=author, language=spoken, screenshots=pictures),
        f"{spelt}_3_presentation_{month}.pdf": make_presentation(run, author=author, language=spoken),
    }
    place = run.report / DELIVERABLES
    for file, content in files.items():
        folders.write_bytes(place / file, content)
    return [place / file for file in files]


def spell_author(author: str) -> str:
    """Return a name as part of a file's name: letters of any script, digits and hyphens; `_` for all else."""
    kept = (sign if sign == "-" or unicodedata.category(sign)[0] in "LMN" else " " for sign in folders.compose(author))
    spelt = "_".join(word for part in "".join(kept).split() if (word := part.strip("-")))
    if not any(map(str.isalpha, spelt)) or len(spelt.encode()) > _MOST_BYTES:
        raise UsageError(f"--author {author!r}: allowed: a name with letters, such as 'Ada Lovelace', not too long.")
    return spelt
