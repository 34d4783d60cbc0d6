"""`run.json`: whose the results in a folder are, and which files make them whole. Written last."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from fruits import storage
from fruits.errors import FruitsError, UsageError
from fruits.redaction import redact_secrets

MARKER = Path("run.json")


def write_marker(folder: Path, *, owner: dict[str, Any]) -> None:
    """Say that the results in a folder are finished, whose they are, and which files belong to them.

    On an object store nothing is renamed: there this list alone tells a whole set of files from a mixed one.
    """
    marker = {**owner, "run_id": uuid.uuid4().hex, "files": _list_files(folder)}
    storage.write_bytes(folder / MARKER, redact_secrets(json.dumps(marker, indent=2) + "\n").encode())


def check_owner(folder: Path, *, target: str, input_dir: Path, replace: bool) -> None:
    """Refuse to overwrite results that another target or input made.

    Raises
    ------
    UsageError
        Naming whose results they are, and how to replace them.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the results of {folder.name} go into a folder of this name.")
    if replace or not folder.exists() or not _holds_anything(folder):
        return
    try:
        owner = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        owner = {}
    if not isinstance(owner, dict) or not owner.keys() >= {"target", "input_dir"}:
        owner = {}
    if owner.get("target") != target or owner.get("input_dir") != redact_secrets(str(input_dir)):
        whose = f"target {owner['target']}, input {owner['input_dir']}" if owner else "an unknown run"
        raise UsageError(
            f"{folder} holds results of {whose}; this run is of target {target}, input {input_dir}. "
            "Choose another output_dir, or add --replace to overwrite them."
        )


def _holds_anything(folder: Path) -> bool:
    # In S3 an object may stand for a folder that is empty.
    return bool(storage.list_files(folder)) if storage.is_remote(folder) else any(folder.iterdir())


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
    for name in storage.list_files(folder):
        if name != MARKER.name and not name.rpartition("/")[2].startswith("."):
            with storage.open_whole(folder / name) as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
