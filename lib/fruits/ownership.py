"""`run.json`: whose a folder of results or of a report is, and which files a run put there. Written last.

What it does not list is not the run's: a folder that holds anything else is never replaced.
"""

import dataclasses
import json
import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from fruits import s3
from fruits.errors import FruitsError, UsageError, quote_first
from fruits.folders import as_folder, compose, hash_file
from fruits.local import LEFTOVERS, LocalFolder
from fruits.params import RunParams
from fruits.redaction import redact_secrets

MARKER, CLUSTER = Path(s3.MARKER), "cluster.json"
# What is put beside the report that is there: by a run that fails, and by emr/steps.py.
_BESIDE = re.compile(rf"kernel\.log|{re.escape(CLUSTER)}")
_FAILED = re.compile(rf"run\.failed\.ipynb|errors(\.failed)?\.csv|{_BESIDE.pattern}")
# Made by the system in any folder, and without value; `x_$folder$` is what Hadoop writes in S3 for a folder.
_LITTER = re.compile(
    r"(.*/)?(\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*|[^/]+_\$folder\$)|(.*/)?@eaDir/.*", re.DOTALL | re.IGNORECASE
)
BY_HAND, DELIVERABLES = "by-hand", "deliverables"
# Results are the same only if these are equal; the other keys of an owner may change from run to run.
SAME = {"target", "input_dir", "split", "classes", "max_images", "seed", "model_id"}
_MAY_CHANGE = {"pca_components", "variance_target", "max_error_share"}
# For `fruits project`: how to load the model again, and how tables are written.
TOLD = {"weights", "engine", "backbone", "input_size", "csv"}


@dataclass(frozen=True)
class Kind:
    """A kind of folder that runs replace: its name in messages and in the marker, and what is special in it."""

    name: str
    unlisted: re.Pattern[str]  # files that an earlier version wrote without listing them
    kept: tuple[str, ...] = ()  # sub-folders that the next folder takes over


RESULTS = Kind(
    "results",
    re.compile(
        r"pca/parquet/(part-[^/]*\.parquet|_SUCCESS)|pca/csv/pca\.csv|metadata/metadata\.csv|"
        r"errors/(errors|ignored|quality_errors)\.csv|model_info/(variance|quality|confusions|suspects|duplicates)\.csv|"
        r"model_info/(mean\.npy|pca_model/(data|metadata)/(part-[^/]*|_SUCCESS))"
    ),
)
REPORT = Kind(
    "report",
    re.compile(rf"{_FAILED.pattern}|(run|atlas)\.(html|ipynb)|manifest\.json|(variance|spark/[^/]+)\.(png|csv|zstd)"),
    kept=(BY_HAND, DELIVERABLES),
)


def describe_owner(params: RunParams, *, model_id: str | None = None) -> dict[str, Any]:
    """Return whose the results of a run are: what tells them from others, and what may change."""
    values = dataclasses.asdict(params) | {"input_dir": str(params.path("input_dir")), "model_id": model_id}
    # Names are compared in one form of their accents, as the classes are looked for.
    values |= {"split": compose(params.split), "classes": [*map(compose, params.classes)]}
    return {key: value for key, value in values.items() if key in SAME | _MAY_CHANGE | TOLD and value is not None}


def write_marker(folder: Path, *, owner: dict[str, Any], kind: Kind = RESULTS) -> None:
    """Write that a folder is finished, whose it is, and the hash of each file that belongs to it."""
    files = {name: digest for name, digest in _hash_files(folder).items() if name.split("/")[0] not in kind.kept}
    told = {"kind": kind.name, **owner, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    marker = {**told, "run_id": uuid.uuid4().hex, "files": files}
    as_folder(folder).write_bytes(MARKER.name, redact_secrets(json.dumps(marker, indent=2) + "\n").encode())


def check_owner(folder: Path, kind: Kind, *, owner: dict[str, Any], replace: bool) -> list[str]:
    """Refuse to replace a folder that holds anything of others, by file names and by the marker.

    With `replace`, results of another owner may be replaced. Returns sentences that say what is taken over, or
    replaced by something different.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the {kind.name} of {folder.name} goes into a folder of this name.")
    refuse_foreign(folder, find_foreign(folder, kind))
    marker = read_marker(folder, kind)
    if not marker:
        return _take_over(folder, kind, replace=replace)
    owner = {key: value for key, value in json.loads(redact_secrets(json.dumps(owner))).items() if key not in TOLD}
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


def list_edited(folder: Path, kind: Kind) -> list[str]:
    """Return a sentence that names the files changed since their run; none in S3, to read nothing there."""
    listed = read_marker(folder, kind).get("files", {})
    there = _hash_files(folder) if listed and isinstance(as_folder(folder), LocalFolder) else {}
    edited = ", ".join(sorted(name for name, digest in there.items() if listed.get(name, digest) != digest))
    return [f"{folder}: replaces {edited}, which somebody has changed since the run that made it."] if edited else []


def _take_over(folder: Path, kind: Kind, *, replace: bool) -> list[str]:
    """Judge a folder without a marker that holds nothing foreign."""
    if kind is REPORT:
        earlier = any((folder / name).exists() for name in ("run.html", "manifest.json"))
        return [f"{folder}: takes over the report of an earlier version, which has no {MARKER}."] if earlier else []
    # create-bucket leaves an object in the place of a folder: that is no file.
    if not replace and not as_folder(folder).atomic and as_folder(folder).list_files():
        raise UsageError(
            f"{folder} holds results without {MARKER}, as a run leaves them that was killed while it copied them; "
            "choose another output_dir, or add --replace to replace them."
        )
    return []


def check_again(folder: Path, kind: Kind, *, owner: dict[str, Any], replace: bool) -> None:
    """Check as `check_owner` does, directly before a folder is replaced; then the error is a FruitsError."""
    try:
        check_owner(folder, kind, owner=owner, replace=replace)
    except UsageError as error:
        raise FruitsError(
            f"{error} This changed while the run was at work: that folder stays as it is, and features "
            "that are stored are kept."
        ) from error


def keep_folders(folder: Path, draft: Path, kind: Kind) -> None:
    """Copy the sub-folders that are kept into the draft that will replace a folder."""
    for name in kind.kept:
        as_folder(folder / name).copy_to(draft / name)


def find_foreign(folder: Path, kind: Kind) -> list[str]:
    """Return the names, sorted, of what a folder holds and no run of ours put there."""
    while True:
        marker = read_marker(folder, kind)
        listed = marker.get("files")
        names = {str(MARKER), *(listed or ())} if marker else set()
        # A run that is killed while it copies its results to S3 has taken the marker away before.
        lenient = listed is None if marker else kind is REPORT or not as_folder(folder).atomic
        # A run that fails leaves its notebook, and its error rows only beside that.
        failed_run = folder / "run.failed.ipynb"
        failed = kind is REPORT and (failed_run.exists() or failed_run.is_symlink())
        patterns = kind.unlisted if lenient else _FAILED if failed else _BESIDE
        foreign = list_foreign(folder, names=names, patterns=patterns, kept=kind.kept)
        # Another run may have put its folder in place meanwhile.
        if not foreign or marker.get("run_id") == read_marker(folder, kind).get("run_id"):
            return foreign


def read_marker(folder: Path, kind: Kind) -> dict[str, Any]:
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
    return name in read_marker(folder, REPORT).get("files", {})


def check_whole(folder: Path, *, below: Path = Path()) -> None:
    """Refuse results, or a part of them, that are not of one finished run: FruitsError names the first wrong file."""
    try:
        listed = json.loads((folder / MARKER).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FruitsError(f"{folder} holds no finished results ({MARKER} is missing or broken); run again.") from error
    there = _hash_files(folder, below=below)
    for name in sorted(there.keys() | {name for name in listed if Path(name).is_relative_to(below)}):
        if listed.get(name) != there.get(name):
            what = "is missing" if name not in there else "was changed" if name in listed else "is of another run"
            raise FruitsError(f"{folder} holds a mixed set of results: {name} {what}; run again.")


def _hash_files(folder: Path, *, below: Path = Path()) -> dict[str, str]:
    """Return the SHA-256 of each file but the marker, hidden ones and litter, by its path below the folder."""
    found = {}
    # In S3 a path that ends in "." is another one.
    place = folder / str(below) if below.parts else folder
    for name in (str(below / name) for name in as_folder(place).list_files()):
        if name != MARKER.name and not name.rpartition("/")[2].startswith(".") and not _LITTER.fullmatch(name):
            found[name] = hash_file(folder / name)
    return found


def list_foreign(
    folder: Path, *, names: Collection[str], patterns: re.Pattern[str] | None = None, kept: Collection[str] = ()
) -> list[str]:
    """Return what a folder holds besides these files, drafts and litter of the system; also links, empty folders."""
    known = {*names, *(f"{parent}/" for name in names for parent in PurePosixPath(name).parents[:-1])}

    def is_known(name: str) -> bool:
        head, _, last = name.rpartition("/")
        checked = re.fullmatch(r"\.(.+)\.crc", last, re.DOTALL)  # Hadoop's checksum of the file beside it
        return bool(
            name in known
            or (patterns and patterns.fullmatch(name))
            or (_LITTER.fullmatch(name) or LEFTOVERS.fullmatch(last))
            or (checked and is_known(f"{head}/{checked[1]}" if head else checked[1]))
        )

    entries = as_folder(folder).list_entries()
    return sorted(name for name in entries if name.split("/")[0] not in kept and not is_known(name))


def refuse_foreign(folder: Path, foreign: list[str]) -> None:
    """Refuse, by a UsageError that names the first few, to replace a folder that holds foreign files."""
    if foreign:
        raise UsageError(
            f"{folder} is replaced as a whole, and holds {len(foreign)} files or folders that no run put there: "
            f"{quote_first(foreign)}. Move them elsewhere, or name another folder."
        )


@contextmanager
def replaced_folder(folder: Path, *, names: Collection[str]) -> Iterator[Path]:
    """Yield a draft, staged on this machine, that replaces a folder; UsageError if that holds other files than these.

    It is checked before the block and again directly before the replacement.
    """
    refuse_foreign(folder, list_foreign(folder, names=names))
    with as_folder(folder).staged() as draft:
        yield draft
        refuse_foreign(folder, list_foreign(folder, names=names))
