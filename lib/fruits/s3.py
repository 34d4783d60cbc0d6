"""Folders in S3: what `storage` does with them. Each is a `upath.UPath`, which reads and writes by s3fs."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from fruits.errors import FruitsError, UsageError

_OPTIONS: dict[str, Any] = {
    # Listings must show what others have just written.
    "use_listings_cache": False,
    # A read asks for the bytes it needs, and no more.
    "default_cache_type": "none",
    "default_fill_cache": False,
    # S3 answers 503 when asked too fast, and connections break: botocore asks again after growing pauses, half a
    # minute in all, and s3fs above it once more.
    "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 7}, "connect_timeout": 5, "read_timeout": 60},
}
# What is read from its beginning to its end is asked for in pieces of this size.
_PIECE = 16 * 2**20
TAG = "etag:"


def open_remote(location: str) -> Any:
    """Return a location as a path; its methods are those of `pathlib.Path`."""
    from upath import UPath

    return UPath(location, **_OPTIONS)


def open_whole(file: Any) -> Any:
    """Open a file to be read from its beginning to its end."""
    return file.open("rb", cache_type="readahead", block_size=_PIECE)


def read_file(file: Any) -> tuple[bytes, str]:
    """Return what a file holds, and its tag as `list_objects` has it, asked after it was read."""
    content = file.read_bytes()
    return content, _tag(file.fs.info(file.path))


def _tag(facts: dict[str, Any]) -> str:
    etag = (facts.get("ETag") or "").removeprefix("W/").strip('"')
    return f"{TAG}{etag}-{facts['size']}" if etag else ""


def list_objects(folder: Any) -> Iterator[tuple[str, int, int, str]]:
    """Yield each object below a folder: its name below it, bytes, time of modification (ns since 1970) and tag.

    The tag is a text of the ETag and the bytes that starts with `TAG`; empty if the store gives no ETag.
    """
    root = folder.path.rstrip("/") + "/"
    for name, facts in folder.fs.find(root, detail=True).items():
        if not name.endswith("/"):  # some tools leave an object in the place of a folder
            modified = int(facts["LastModified"].timestamp() * 10**9)
            yield name.removeprefix(root), int(facts["size"]), modified, _tag(facts)


def has_objects(folder: Any) -> bool:
    """Tell whether a folder holds anything: it is there then, and only then."""
    bucket, _, key = folder.path.rstrip("/").partition("/")
    prefix = f"{key}/" if key else ""
    return bool(folder.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))


def list_folders(folder: Any) -> list[str]:
    """Return the names of the folders in a folder, sorted."""
    pages = folder.fs.ls(folder.path, detail=True) if has_objects(folder) else []
    return sorted(facts["name"].rstrip("/").rpartition("/")[2] for facts in pages if facts["type"] == "directory")


def read_heads(folder: Any, names: Sequence[str], *, length: int) -> dict[str, bytes]:
    """Return the first bytes of objects below a folder, asked for many at once; none of those that S3 does not give."""
    paths = [(folder / name).path for name in names]
    heads = folder.fs.cat_ranges(paths, 0, length, on_error="return") if paths else []
    return {name: head for name, head in zip(names, heads, strict=True) if isinstance(head, bytes)}


def remove_folder(folder: Any) -> None:
    """Remove all objects below a folder."""
    if has_objects(folder):
        folder.fs.rm(folder.path, recursive=True)


@contextmanager
def replaced_folder(final: Any, draft: Any, *, last: str | None) -> Iterator[Path]:
    """Yield a new draft folder whose objects take the place of those of `final` if the block succeeds.

    Nothing can be renamed there. `last` is removed first, then the others are copied one by one, and `last` at the
    end; old ones that have no successor are removed before it.
    """
    try:
        yield cast("Path", draft)
        new, old = ({name for name, *_ in list_objects(folder)} for folder in (draft, final))
        _remove(final, {last} & old)
        _copy(draft, final, new - {last})
        _remove(final, old - new - {last})
        _copy(draft, final, {last} & new)
    finally:
        remove_folder(draft)


def upload_folder(draft: Path, final: Any, *, names: Collection[str]) -> None:
    """Copy files of this machine in the place of whatever a folder holds."""
    old = {name for name, *_ in list_objects(final)}  # not what others write there meanwhile
    for name in names:
        (final / name).write_bytes((draft / name).read_bytes())
    _remove(final, old - set(names))


def _copy(draft: Any, final: Any, names: Collection[str | None]) -> None:
    for name in sorted(filter(None, names)):
        final.fs.copy((draft / name).path, (final / name).path)


def _remove(folder: Any, names: Collection[str | None]) -> None:
    for name in sorted(filter(None, names)):
        folder.fs.rm_file((folder / name).path)


def check_writable(folder: Any) -> None:
    """Refuse a folder that cannot be written to.

    Raises
    ------
    FruitsError
        As `explain_refusal` has it.
    """
    probe = folder / f".probe.{uuid.uuid4().hex[:8]}"
    with explain_refusal(folder, doing="written"):
        probe.write_bytes(b"")
        probe.unlink()


def check_listable(folder: Any) -> None:
    """Refuse a folder that cannot be listed, because S3 does not answer, does not allow it or has no such bucket.

    Raises
    ------
    FruitsError
        As `explain_refusal` has it.
    """
    with explain_refusal(folder, doing="listed"):
        has_objects(folder)


@contextmanager
def explain_refusal(folder: Any, *, doing: str) -> Iterator[None]:
    """Turn what S3 and the network answer in the block into a sentence.

    Parameters
    ----------
    doing
        What cannot be done with the folder: `listed`, `written`.

    Raises
    ------
    UsageError
        If no keys or no such bucket are there.
    FruitsError
        If S3 refuses or does not answer.
    """
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, OSError) as error:
        kind, why, remedy = _find_remedy(error, bucket=folder.path.partition("/")[0])
        raise kind(f"{folder} cannot be {doing}: {why}; {remedy}.") from error


def _find_remedy(error: Exception, *, bucket: str) -> tuple[type[FruitsError], str, str]:
    """Return the kind of the error, what was answered and what to do."""
    from botocore import exceptions as boto

    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        remedy = "mend the name, or make it with `scripts/aws_setup.sh create-bucket`"
        return UsageError, f"there is no bucket {bucket}", remedy
    if isinstance(error, PermissionError):
        remedy = "use keys that may (`aws sts get-caller-identity` says whose are in use), or name another folder"
        return FruitsError, f"S3 refuses it ({said})", remedy
    no_keys = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
    if isinstance(error, (*no_keys, boto.ProfileNotFound, boto.SSOError, boto.TokenRetrievalError)):
        remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws configure` keeps them"
        return UsageError, f"no keys to ask S3 with ({said})", remedy
    remedy = "check the network, the bucket's region (AWS_REGION) and AWS_ENDPOINT_URL, if it is set, and try again"
    return FruitsError, f"S3 does not answer as it should ({said})", remedy
