"""What runs that died left behind: unfinished batches, drafts and parts of files."""

import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from fruits.errors import UsageError
from fruits.features.batches import list_unfinished
from fruits.folders import as_folder
from fruits.local import LEFTOVERS, LocalFolder
from fruits.ownership import REPORT
from fruits.params import TARGETS, RunParams, list_modes

_FOLDERS = ("output_dir", "report_dir")


def find_leftovers(params: RunParams) -> list[Path]:
    """Return, sorted, what `remove_leftovers` would remove: only what lies where runs write, and not behind links."""
    for folder in map(params.path, _FOLDERS):
        if not isinstance(as_folder(folder), LocalFolder):
            raise UsageError(
                f"{folder} lies in S3, where no lock tells whether a run is at work: remove what is left by hand, such "
                "as `aws s3 rm --recursive` of batches without _SUCCESS below features/, once no run is."
            )
    output, reports = (params.path(key).resolve() for key in _FOLDERS)
    targets = [reports / target for target in TARGETS]
    modes = [target / mode for target in targets if _is_own(target) for mode in list_modes()]
    stores = _list_entries(output / "features")
    unfinished = [batch for store in stores if _is_own(store) for batch in list_unfinished(store) if _is_own(batch)]
    kept = [mode / name for mode in modes for name in REPORT.kept]
    places = [output, output / "models", reports, *targets, *modes, *kept]
    parts = [entry for place in places for entry in _list_entries(place) if LEFTOVERS.fullmatch(entry.name)]
    return sorted({*unfinished, *parts})


def remove_leftovers(params: RunParams) -> list[Path]:
    """Remove and return what dead runs left; finished batches, results and reports stay. Refuse if a run is at work."""
    with ExitStack() as stack:
        for folder in sorted({params.path(key).resolve() for key in _FOLDERS}):
            if folder.is_dir():
                stack.enter_context(LocalFolder(folder).held_alone())
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


def _list_entries(place: Path) -> list[Path]:
    return list(place.iterdir()) if _is_own(place) else []


def _is_own(place: Path) -> bool:
    """Tell a folder of the place itself from a link, which leads to other people's."""
    return place.is_dir() and not place.is_symlink()
