"""A stand-in for `aws s3 cp`, as far as the scripts of the nodes use it; by boto3, so it honours AWS_ENDPOINT_URL."""

import fnmatch
import sys
from pathlib import Path
from typing import Any

import boto3

PROGRAM = '#!/usr/bin/env bash\nexec "{python}" "{shim}" "$@"\n'


def install(folder: Path) -> None:
    """Put a program `aws` into a folder, which may then head a PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "aws"
    program.write_text(PROGRAM.format(python=sys.executable, shim=__file__))
    program.chmod(0o755)


def split(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def fetch_all(s3: Any, source: str, target: Path, *, excluded: list[str]) -> None:
    bucket, prefix = split(source)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = entry["Key"][len(prefix) :]
            if name and not name.endswith("/") and not any(fnmatch.fnmatch(name, glob) for glob in excluded):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(bucket, entry["Key"], str(target / name))


def main(arguments: list[str]) -> None:
    assert arguments[:2] == ["s3", "cp"], arguments
    rest, places, excluded, recursive = iter(arguments[2:]), [], [], False
    for argument in rest:
        if argument == "--exclude":
            excluded.append(next(rest))
        elif argument == "--recursive":
            recursive = True
        elif argument != "--only-show-errors":
            places.append(argument)
    source, target = places
    s3 = boto3.client("s3")
    if recursive:
        fetch_all(s3, source, Path(target), excluded=excluded)
    elif source.startswith("s3://"):
        bucket, key = split(source)
        s3.download_file(bucket, key, target)
    else:
        bucket, key = split(target)
        s3.put_object(
            Bucket=bucket, Key=key, Body=sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        )


if __name__ == "__main__":
    main(sys.argv[1:])
