"""Files to the bucket and back: many at once, only what is missing.

botocore sends a CRC32 with each upload, which S3 checks, and checks the one that S3 answers with.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emr.context import Context
from fruits.errors import FruitsError

PART_BYTES = 16 * 2**20


def list_objects(client: Any, bucket: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Return what S3 says of each object below a prefix, by key, without the empty ones that stand for folders."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [entry for page in pages for entry in page.get("Contents", [])]
    return {entry["Key"]: entry for entry in found if not entry["Key"].endswith(("/", "_$folder$"))}


def delete_objects(client: Any, bucket: str, keys: Sequence[str]) -> None:
    """Delete objects; a FruitsError names one that S3 refuses to delete, which it says in an answer of success."""
    refused = []
    for start in range(0, len(keys), 1000):
        objects = {"Objects": [{"Key": key} for key in keys[start : start + 1000]], "Quiet": True}
        refused += client.delete_objects(Bucket=bucket, Delete=objects).get("Errors", [])
    if refused:
        raise FruitsError(
            f"S3 refused to delete {len(refused)} of {len(keys)} objects of {bucket}, such as {refused[0]['Key']} "
            f"({refused[0]['Code']}); you need s3:DeleteObject there. Repeat the command when you have it."
        )


def upload(context: Context, files: Mapping[str, Path], *, there: Mapping[str, Mapping[str, Any]]) -> str:
    """Send files by key, except those that are among the objects that `list_objects` found, and say what was done."""
    client, bucket = context.client("s3"), context.bucket

    def put(key: str, **options: Any) -> None:
        client.upload_file(str(files[key]), bucket, key, **options)

    missing = [key for key, file in files.items() if key not in there or not _is_same(there[key], file)]
    return _move({key: file.stat().st_size for key, file in files.items()}, missing, put, verb="sent")


def download(context: Context, entries: Iterable[Mapping[str, Any]], *, prefix: str, folder: Path) -> str:
    """Fetch objects whole, except those whose size and time a file in the folder has, and say what was done."""
    found = {entry["Key"]: entry for entry in entries}
    files = {key: folder / key.removeprefix(prefix) for key in found}
    for key, file in files.items():
        if file == folder or ".." in file.parts or folder not in file.parents:
            raise FruitsError(f"the object {key!r} would be written outside {folder}; remove it from the bucket.")
    client, bucket = context.client("s3"), context.bucket
    times = {key: int(entry["LastModified"].timestamp()) for key, entry in found.items()}

    def is_there(key: str) -> bool:
        file = files[key]
        return file.is_file() and (file.stat().st_size, file.stat().st_mtime) == (found[key]["Size"], times[key])

    def get(key: str, **options: Any) -> None:
        files[key].parent.mkdir(parents=True, exist_ok=True)
        part = files[key].with_name(f".{files[key].name}.part")
        client.download_file(bucket, key, str(part), **options)
        os.utime(part, (times[key], times[key]))
        part.replace(files[key])

    missing = [key for key in files if not is_there(key)]
    return _move({key: entry["Size"] for key, entry in found.items()}, missing, get, verb="fetched")


def _is_same(entry: Mapping[str, Any], file: Path) -> bool:
    """Compare by size and ETag: the MD5, or of an object in parts the MD5 of their MD5s, and their number."""
    if entry["Size"] != file.stat().st_size:
        return False
    md5 = partial(hashlib.md5, usedforsecurity=False)
    with file.open("rb") as stream:
        parts = [md5(part) for part in iter(lambda: stream.read(PART_BYTES), b"")] or [md5()]
    in_parts = f"{md5(b''.join(part.digest() for part in parts)).hexdigest()}-{len(parts)}"
    return bool(entry["ETag"].strip('"') == (in_parts if entry["Size"] >= PART_BYTES else parts[0].hexdigest()))


def _move(sizes: Mapping[str, int], keys: Sequence[str], move: Callable[..., None], *, verb: str) -> str:
    """Move many at once under one bar; the first failure stops what has not begun, what is moved stays moved."""
    from boto3.s3.transfer import TransferConfig

    # Threads of its own for each file would multiply with ours.
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
    size = sum(sizes[key] for key in keys)
    with (
        tqdm(total=size, unit="B", unit_scale=True, file=sys.stdout, ncols=88, disable=not keys) as bar,
        ThreadPoolExecutor(16) as pool,
    ):
        try:
            for job in as_completed([pool.submit(move, key, Callback=bar.update, Config=config) for key in keys]):
                job.result()
        except OSError as error:
            raise FruitsError(f"{error}; when that is corrected, repeat: the rest is moved then.") from error
        finally:
            # After Ctrl-C, too: leaving the pool would first move all that wait.
            pool.shutdown(wait=False, cancel_futures=True)
    total = sum(sizes.values()) / 2**20
    return f"{len(sizes)} files, {total:.1f} MiB: {len(keys)} {verb}, {len(sizes) - len(keys)} were there."
