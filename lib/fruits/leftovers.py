"""What runs that died left behind: unfinished batches, drafts and parts of files."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from fruits import locks, storage
from fruits.features.store import list_unfinished
from fruits.params import RunParams


def find_leftovers(params: RunParams) -> list[Path]:
    """Return what `remove_leftovers` would remove from the folders of a target, sorted."""
    output, reports = params.path("output_dir"), params.path("report_dir")
    unfinished = [batch for store in (output / "features").glob("*") for batch in list_unfinished(store)]
    places = [output, output / "models", reports, *_list_folders(reports, depth=2)]
    parts = [entry for place in places if place.is_dir() for entry in place.iterdir() if _is_left(entry)]
    return sorted({*unfinished, *parts})


def remove_leftovers(params: RunParams) -> list[Path]:
    """Remove what dead runs left in the folders of a target; finished batches, results and reports stay.

    Returns
    -------
    list of Path
        What was removed.

    Raises
    ------
    FruitsError
        If a run is at work in one of the folders.
    """
    with ExitStack() as stack:
        for folder in {params.path("output_dir"), params.path("report_dir")}:
            if folder.is_dir():
                stack.enter_context(locks.alone_in_folder(folder))
        found = find_leftovers(params)
        for entry in found:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    return found


def measure(entries: Iterable[Path]) -> int:
    """Return the bytes that files and folders take."""
    files = (file for entry in entries for file in (entry, *entry.rglob("*")))
    return sum(file.lstat().st_size for file in files if file.is_file())


def _list_folders(place: Path, *, depth: int) -> Iterator[Path]:
    for folder in place.glob("*/"):
        yield folder
        if depth > 1:
            yield from _list_folders(folder, depth=depth - 1)


def _is_left(entry: Path) -> bool:
    return storage.LEFTOVERS.fullmatch(entry.name) is not None
