"""Files to the bucket and back: many at once, only what is missing, each verified."""

import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from tqdm import tqdm

from emr.account import Account
from emr.etag import PART_BYTES, etag_of
from emr.request import Request
from fruits.errors import FruitsError

AT_ONCE = 16


@dataclass(frozen=True)
class Entry:
    """An object of the bucket."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Moved:
    """How many files were wanted, how many of them were there already, and the bytes of all."""

    files: int
    skipped: int
    bytes: int

    def describe(self, verb: str) -> str:
        """Say it in a line."""
        done = self.files - self.skipped
        return (
            f"{self.files} files, {self.bytes / 2**20:.1f} MiB: {done} {verb}, {self.skipped} were there; all verified."
        )


def list_objects(account: Account, bucket: str, prefix: str) -> dict[str, Entry]:
    """Return the objects below a prefix by key; the empty ones that stand for folders are left out."""
    request = Request("s3", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix})
    entries = account.read_all(request, key="Contents")
    found = (Entry(entry["Key"], entry["Size"], entry["ETag"].strip('"')) for entry in entries)
    return {entry.key: entry for entry in found if not entry.key.endswith(("/", "_$folder$"))}


def delete_objects(account: Account, bucket: str, keys: Sequence[str]) -> None:
    """Delete objects, a thousand in a request; those that are not there count as deleted.

    Raises
    ------
    FruitsError
        If S3 refuses some, which it says in an answer of success; the others are deleted.
    """
    refused: list[dict[str, str]] = []
    for start in range(0, len(keys), 1000):
        objects = {"Objects": [{"Key": key} for key in keys[start : start + 1000]], "Quiet": True}
        answer = account.send(Request("s3", "delete_objects", {"Bucket": bucket, "Delete": objects}))
        refused += answer.get("Errors", [])
    if refused:
        first = refused[0]
        raise FruitsError(
            f"{len(refused)} of {len(keys)} objects could not be deleted from s3://{bucket}, such as "
            f"{first.get('Key')} ({first.get('Code')}: {first.get('Message', '')}). Your user or role needs "
            "s3:DeleteObject there, and nothing may lock them; then repeat the command."
        )


def upload(account: Account, files: Mapping[str, Path], *, bucket: str, prefix: str) -> Moved:
    """Upload files by key, those of the same content excepted, and verify that all are there.

    Parameters
    ----------
    files
        Key to file.
    prefix
        What the keys have in common; the bucket is listed below it, before and after.

    Raises
    ------
    FruitsError
        If the bucket then holds something else than the files.
    """
    total = Moved(len(files), 0, sum(file.stat().st_size for file in files.values()))
    if account.dry_run:
        for key, file in files.items():
            account.send(Request("s3", "upload_file", {"Bucket": bucket, "Key": key, "Filename": str(file)}))
        return total
    there = list_objects(account, bucket, prefix)
    missing = {key: file for key, file in files.items() if not is_same(there.get(key), file)}
    client, config = account.client("s3"), _transfer_config()

    def put(key: str, progress: Callable[[int], None]) -> None:
        client.upload_file(str(missing[key]), bucket, key, Callback=progress, Config=config)

    _each(missing, put, total=sum(file.stat().st_size for file in missing.values()), what="up")
    there = list_objects(account, bucket, prefix)
    wrong = sorted(key for key, file in files.items() if not is_same(there.get(key), file))
    if wrong:
        raise FruitsError(
            f"{len(wrong)} of {len(files)} files are not in s3://{bucket} as they are here, such as "
            f"{wrong[0]}; repeat the command, only these are sent again."
        )
    return Moved(total.files, total.files - len(missing), total.bytes)


def download(account: Account, entries: Iterable[Entry], *, bucket: str, prefix: str, folder: Path) -> Moved:
    """Download objects into a folder, those there already excepted; a file appears whole and verified or not at all.

    Raises
    ------
    FruitsError
        If one is not what the bucket holds, or its name leads out of the folder.
    """
    wanted = {entry.key: (entry, place_of(entry.key, prefix=prefix, folder=folder)) for entry in entries}
    client, config = account.client("s3"), _transfer_config()
    missing = {}
    for key, (entry, file) in wanted.items():
        if not (file.is_file() and file.stat().st_size == entry.size and _matches(client, bucket, entry, file)):
            missing[key] = file

    def get(key: str, progress: Callable[[int], None]) -> None:
        entry, file = wanted[key]
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
        try:
            client.download_file(bucket, key, str(partial), Callback=progress, Config=config)
            if partial.stat().st_size != entry.size or not _matches(client, bucket, entry, partial):
                raise FruitsError(f"s3://{bucket}/{key} arrived other than it lies there; repeat the command.")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    _each(missing, get, total=sum(wanted[key][0].size for key in missing), what="down")
    size = sum(entry.size for entry, _ in wanted.values())
    return Moved(len(wanted), len(wanted) - len(missing), size)


def is_same(entry: Entry | None, file: Path) -> bool:
    """Tell whether an object that was uploaded from here holds this file."""
    return entry is not None and entry.size == file.stat().st_size and entry.etag == etag_of(file)


def place_of(key: str, *, prefix: str, folder: Path) -> Path:
    """Return the file of a key; keys that would lead out of the folder are refused."""
    parts = PurePosixPath(key.removeprefix(prefix)).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise FruitsError(f"the key {key!r} would be written outside {folder}; remove it from the bucket.")
    return folder.joinpath(*parts)


def _matches(client: Any, bucket: str, entry: Entry, file: Path) -> bool:
    """Compare by ETag; who wrote the object chose the size of its parts, so S3 is asked for it."""
    if "-" not in entry.etag:
        return etag_of(file, parts=False) == entry.etag
    first = client.head_object(Bucket=bucket, Key=entry.key, PartNumber=1)["ContentLength"]
    return etag_of(file, part_bytes=first, parts=True) == entry.etag


def _advance(bar: "tqdm[NoReturn]") -> Callable[[int], None]:
    def advance(count: int) -> None:
        bar.update(count)

    return advance


def _each(keys: Iterable[str], move: Callable[[str, Callable[[int], None]], None], *, total: int, what: str) -> None:
    """Move many at once under one bar; the first failure stops what has not begun, what is moved stays moved."""
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc=what, file=sys.stdout, ncols=88, disable=not total) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        try:
            jobs = {pool.submit(move, key, _advance(bar)): key for key in sorted(keys)}
            for job in as_completed(jobs):
                error = job.exception()
                if isinstance(error, FruitsError):
                    raise error
                if error is not None:
                    again = "Repeat the command: it goes on where it stopped."
                    raise FruitsError(f"{jobs[job]}: {error}. {again}") from error
        finally:
            # After Ctrl-C, too: leaving the pool would first move all that wait.
            pool.shutdown(wait=False, cancel_futures=True)


def _transfer_config() -> Any:
    from boto3.s3.transfer import TransferConfig

    # Threads of its own a file would multiply with ours.
    return TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
