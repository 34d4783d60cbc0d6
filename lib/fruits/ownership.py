"""`run.json`: whose a folder of results or of a report is, and which files a run put there. Written last.

What it does not list is not the run's: a folder that holds anything else is never replaced.
"""

import dataclasses
import hashlib
import json
import re
import shutil
import stat
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fruits import folders
from fruits.errors import FruitsError, UsageError
from fruits.foreign import list_foreign, refuse_foreign
from fruits.params import RunParams
from fruits.redaction import redact_secrets
from fruits.spelling import compose

MARKER = Path("run.json")
# What a run that fails puts beside the report that is there.
_LOG = re.compile(r"kernel\.log")
_FAILED = re.compile(r"run\.failed\.ipynb|errors(\.failed)?\.csv|kernel\.log")
_COPIED = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
BY_HAND = "by-hand"
# Results are the same only if these are equal; the other keys of an owner may change from run to run.
SAME = {"target", "input_dir", "split", "classes", "max_images", "seed", "model_id"}
_MAY_CHANGE = {"pca_components", "variance_target", "max_error_share"}


@dataclass(frozen=True)
class Kind:
    """A kind of folder that runs replace; its name is in messages and in the marker.

    Attributes
    ----------
    unlisted : Pattern
        Names that an earlier version wrote without listing them.
    kept : tuple of str
        Sub-folders that outlive the folder: the next one takes them over.
    """

    name: str
    unlisted: re.Pattern[str]
    kept: tuple[str, ...] = ()


RESULTS = Kind(
    "results",
    re.compile(
        r"pca/parquet/(part-[^/]*\.parquet|_SUCCESS)|pca/csv/pca\.csv|metadata/metadata\.csv|errors/(errors|ignored)\.csv|"
        r"model_info/(variance\.csv|mean\.npy|pca_model/(data|metadata)/(part-[^/]*|_SUCCESS))"
    ),
)
REPORT = Kind(
    "report",
    re.compile(r"run\.html|run(\.failed)?\.ipynb|variance\.png|manifest\.json|errors(\.failed)?\.csv|kernel\.log"),
    kept=(BY_HAND,),
)


def describe_owner(params: RunParams, *, model_id: str | None = None) -> dict[str, Any]:
    """Return whose the results of a run are: what tells them from others, and what may change."""
    values = dataclasses.asdict(params) | {"input_dir": str(params.path("input_dir")), "model_id": model_id}
    # Names are compared in one form of their accents, as the classes are looked for.
    values |= {"split": compose(params.split), "classes": [*map(compose, params.classes)]}
    return {key: value for key, value in values.items() if key in SAME | _MAY_CHANGE and value is not None}


def write_marker(folder: Path, *, owner: dict[str, Any], kind: Kind = RESULTS) -> None:
    """Say that a folder is finished, whose it is, and which files belong to it.

    On an object store nothing is renamed: there this list alone tells a whole set of files from a mixed one.
    """
    files = {name: digest for name, digest in _list_files(folder).items() if name.split("/")[0] not in kind.kept}
    told = {"kind": kind.name, **owner, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    marker = {**told, "run_id": uuid.uuid4().hex, "files": files}
    folders.write_bytes(folder / MARKER, redact_secrets(json.dumps(marker, indent=2) + "\n").encode())


def check_owner(folder: Path, kind: Kind, *, owner: dict[str, Any], replace: bool) -> list[str]:
    """Refuse to replace a folder that holds anything of others.

    Parameters
    ----------
    owner, replace
        As `describe_owner` has it; whether results of another owner may be replaced.

    Returns
    -------
    list of str
        Sentences that say what is replaced, if it was changed or differs from what the run makes, or taken over.

    Raises
    ------
    UsageError
        As `refuse_others` has it.
    """
    notes = refuse_others(folder, kind, owner=owner, replace=replace)
    return [*_tell_edited(folder, _read_marker(folder, kind)), *notes]


def refuse_others(folder: Path, kind: Kind, *, owner: dict[str, Any], replace: bool) -> list[str]:
    """Like `check_owner`, without a look into the files: UsageError names the foreign ones, or what differs."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the {kind.name} of {folder.name} goes into a folder of this name.")
    refuse_foreign(folder, find_foreign(folder, kind))
    marker = _read_marker(folder, kind)
    if not marker:
        return _take_over(folder, kind, replace=replace)
    owner = json.loads(redact_secrets(json.dumps(owner)))
    notes = []
    differ = [key for key in owner if key in marker and owner[key] != marker[key]]
    others = [key for key in differ if key in SAME]
    there, here = (", ".join(f"{key} = {values[key]}" for key in others or differ) for values in (marker, owner))
    if kind is RESULTS and others and not replace:
        raise UsageError(
            f"{folder} holds results of {there}; this run is of {here}. "
            "Choose another output_dir, or add --replace to replace them."
        )
    if others or (differ and kind is RESULTS):  # of what may change, the sentence of the results tells
        when = f" of {marker['finished']}" if "finished" in marker else ""
        notes.append(f"{folder}: replaces the {kind.name}{when} with {there}; this run is of {here}.")
    if missing := ", ".join(key for key in owner if key not in marker):
        notes.append(f"{folder}: takes over the {kind.name} of an earlier version, which does not say its {missing}.")
    return notes


def _tell_edited(folder: Path, marker: dict[str, Any]) -> list[str]:
    """Name the listed files whose content has changed; not in S3, where that would read all of them."""
    listed = marker.get("files", {})
    there = {} if not listed or folders.is_remote(folder) else _list_files(folder)
    edited = ", ".join(sorted(name for name, digest in there.items() if listed.get(name, digest) != digest))
    return [f"{folder}: replaces {edited}, which somebody has changed since the run that made it."] if edited else []


def _take_over(folder: Path, kind: Kind, *, replace: bool) -> list[str]:
    """Judge a folder without a marker that holds nothing foreign."""
    if kind is REPORT:
        earlier = any(folders.is_there(folder / name) for name in ("run.html", "manifest.json"))
        return [f"{folder}: takes over the report of an earlier version, which has no {MARKER}."] if earlier else []
    if not replace and folders.is_remote(folder) and folders.list_files(folder):
        raise UsageError(
            f"{folder} holds results without {MARKER}, as a run leaves them that was killed while it copied them; "
            "choose another output_dir, or add --replace to replace them."
        )
    return []


def check_again(folder: Path, kind: Kind, *, owner: dict[str, Any], replace: bool) -> None:
    """Refuse, directly before a folder is replaced, what has got into it since the run began.

    Raises
    ------
    FruitsError
        As `refuse_others` has it; the folder stays as it is.
    """
    try:
        refuse_others(folder, kind, owner=owner, replace=replace)
    except UsageError as error:
        raise FruitsError(
            f"{error} This came about while the run was at work: that folder stays as it is, and features "
            "that are stored are kept."
        ) from error


def keep_folders(folder: Path, draft: Path, kind: Kind) -> None:
    """Copy the sub-folders that are kept into the draft that will replace a folder."""
    for name in kind.kept:
        source = folder / name
        if folders.is_remote(folder):
            for file in folders.list_files(source):
                folders.write_bytes(draft / name / file, (source / file).read_bytes())
        elif source.is_dir() and not source.is_symlink():
            shutil.copytree(source, draft / name, symlinks=True, ignore=_skip_uncopied)
        elif folders.is_there(source):
            shutil.copy2(source, draft / name, follow_symlinks=False)


def _skip_uncopied(folder: str, names: list[str]) -> list[str]:
    """Leave out parts of files, and pipes and sockets, which cannot be copied."""
    special = {name for name in names if stat.S_IFMT((Path(folder) / name).lstat().st_mode) not in _COPIED}
    return [name for name in names if name in special or folders.LEFTOVERS.fullmatch(name)]


def find_foreign(folder: Path, kind: Kind) -> list[str]:
    """Return the names, sorted, of what a folder holds and no run of ours put there."""
    while True:
        marker = _read_marker(folder, kind)
        listed = marker.get("files")
        names = {str(MARKER), *(listed or ())} if marker else set()
        # A run that is killed while it copies its results to S3 has taken the marker away before.
        lenient = listed is None if marker else kind is REPORT or folders.is_remote(folder)
        # A run that fails leaves its notebook, and its error rows only beside that.
        failed = kind is REPORT and folders.is_there(folder / "run.failed.ipynb")
        patterns = kind.unlisted if lenient else _FAILED if failed else _LOG
        foreign = list_foreign(folder, names=names, patterns=patterns, kept=kind.kept)
        # Another run may have put its folder in place meanwhile.
        if not foreign or marker.get("run_id") == _read_marker(folder, kind).get("run_id"):
            return foreign


def _read_marker(folder: Path, kind: Kind) -> dict[str, Any]:
    """Return what the marker of a folder says; nothing if it has none, or none of this kind."""
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    ours = isinstance(marker, dict) and marker.keys() >= {"target", "input_dir"}
    ours = ours and marker.get("kind", RESULTS.name) == kind.name and isinstance(marker.get("files", {}), dict)
    return marker if ours else {}


def lists_file(folder: Path, name: str) -> bool:
    """Tell whether the report in a folder is whole and has a file of this name."""
    return name in _read_marker(folder, REPORT).get("files", {})


def check_whole(folder: Path) -> None:
    """Refuse results that a run did not finish, or that files of another run have got into.

    Raises
    ------
    FruitsError
        Naming the first file that is missing, foreign or changed.
    """
    try:
        listed = json.loads((folder / MARKER).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FruitsError(f"{folder} holds no finished results ({MARKER} is missing or broken); run again.") from error
    there = _list_files(folder)
    for name in sorted(listed.keys() | there.keys()):
        if listed.get(name) != there.get(name):
            what = "is missing" if name not in there else "was changed" if name in listed else "is of another run"
            raise FruitsError(f"{folder} holds a mixed set of results: {name} {what}; run again.")


def _list_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file but the marker and hidden ones, by its path below the folder."""
    found = {}
    for name in folders.list_files(folder):
        if name != MARKER.name and not name.rpartition("/")[2].startswith("."):
            with folders.open_whole(folder / name) as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
