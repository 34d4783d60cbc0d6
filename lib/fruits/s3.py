"""Folders in S3, read and written by `upath.UPath` and s3fs; errors of S3 in one sentence."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any, ClassVar, NamedTuple

from fruits.errors import FruitsError, UsageError
from fruits.local import make_draft_name

_OPTIONS: dict[str, Any] = {
    # Listings must show what others have just written.
    "use_listings_cache": False,
    # S3 answers 503 when asked too fast, and connections break: botocore asks again after growing pauses, half a
    # minute in all, and s3fs above it once more.
    "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 7}, "connect_timeout": 5, "read_timeout": 60},
}
TAG = "tag:"
# Earlier versions did not turn an image as EXIF says: what they stored under such a tag may be of the unturned one.
EARLIER_TAG = "etag:"
# The file that says that a folder is whole: see `ownership`.
MARKER = "run.json"


class S3Object(NamedTuple):
    """A file in S3: name, bytes, time of modification (ns since 1970), tag (ETag and bytes; empty without an ETag)."""

    name: str
    length: int
    modified: int
    tag: str


def open_path(location: str) -> Any:
    """Return a location in S3 as a path with the methods of `pathlib.Path`."""
    from upath import UPath

    return UPath(location, **_OPTIONS)


@dataclass(frozen=True)
class S3Folder:
    """A folder in S3, with the methods of `folders.LocalFolder`. It exists if it holds anything."""

    path: Any
    atomic: ClassVar[bool] = False

    def exists(self) -> bool:
        """Tell whether the folder holds anything."""
        bucket, _, key = self.path.path.rstrip("/").partition("/")
        prefix = f"{key}/" if key else ""
        return bool(self.path.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))

    def identify(self) -> list[PurePosixPath]:
        """Return bucket and key, and those of each folder above."""
        name = PurePosixPath(normpath(str(self.path).partition("://")[2]))
        return [name, *name.parents[:-1]]

    def list_objects(self) -> Iterator[S3Object]:
        """Yield each object below the folder; names are relative to it."""
        root = self.path.path.rstrip("/") + "/"
        for name, facts in self.path.fs.find(root, detail=True).items():
            # Some tools leave an object in the place of a folder, EMR's file system one beside it.
            if not name.endswith(("/", "_$folder$")):
                modified = int(facts["LastModified"].timestamp() * 10**9)
                yield S3Object(name.removeprefix(root), int(facts["size"]), modified, _make_tag(facts))

    def list_files(self) -> list[str]:
        """Return the names of all files below the folder, relative to it, sorted."""
        return sorted(file.name for file in self.list_objects())

    list_entries = list_files

    def list_folders(self) -> list[str]:
        """Return the names of the folders in the folder, sorted."""
        pages = self.path.fs.ls(self.path.path, detail=True) if self.exists() else []
        return sorted(facts["name"].rstrip("/").rpartition("/")[2] for facts in pages if facts["type"] == "directory")

    def read_tagged(self, name: str) -> tuple[bytes, str]:
        """Return the content of a file, and its tag as `list_objects` gives it, asked for after the content."""
        file = self.path / name
        return file.read_bytes(), _make_tag(file.fs.info(file.path))

    def read_heads(self, names: Sequence[str], *, length: int) -> dict[str, bytes]:
        """Return the first bytes of files, requested together; those that S3 does not give are left out."""
        paths = [(self.path / name).path for name in names]
        heads = self.path.fs.cat_ranges(paths, 0, length, on_error="return") if paths else []
        return {name: head for name, head in zip(names, heads, strict=True) if isinstance(head, bytes)}

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file: readers see the old one or the whole new one."""
        (self.path / name).write_bytes(content)

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """Yield a draft folder, copied over this one if the block succeeds: S3 can rename nothing."""
        draft = S3Folder(self.path.with_name(make_draft_name(self.path.name) + ".draft"))
        try:
            yield draft.path
            copy = self.path.fs.copy
            self._replace(draft.list_files(), lambda name: copy((draft.path / name).path, (self.path / name).path))
        finally:
            draft.remove()

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """Yield a local draft folder, uploaded in the place of this one if the block succeeds."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            draft = Path(name)
            yield draft
            files = [file.relative_to(draft).as_posix() for file in draft.rglob("*") if file.is_file()]
            self._replace(files, lambda file: self.write_bytes(file, (draft / file).read_bytes()))

    def _replace(self, names: Collection[str], put: Callable[[str], object]) -> None:
        """Put files in the place of all others; the marker is removed first and written last: with it, all are there.

        Files that others add meanwhile stay.
        """
        old = set(self.list_files())
        self._remove_files({MARKER} & old)
        for name in sorted(set(names) - {MARKER}):
            put(name)
        self._remove_files(old - {*names, MARKER})
        if MARKER in names:
            put(MARKER)

    def _remove_files(self, names: set[str]) -> None:
        for name in sorted(names):
            self.path.fs.rm_file((self.path / name).path)

    def remove(self) -> None:
        """Remove all objects below the folder."""
        if self.exists():
            self.path.fs.rm(self.path.path, recursive=True)

    def copy_to(self, target: Path) -> None:
        """Copy all files to a local folder."""
        for name in self.list_files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((self.path / name).read_bytes())

    def hold(self) -> None:
        """Do nothing: S3 has no locks, and `fruits clean` does not work there."""

    def check_listable(self) -> None:
        """Refuse a folder that cannot be listed; raises as `explain_refusal` does."""
        with explain_refusal(self.path, doing="listed"):
            self.exists()

    def check_writable(self) -> None:
        """Refuse a folder that cannot be written to; raises as `explain_refusal` does."""
        probe = self.path / make_draft_name("probe")
        with explain_refusal(self.path, doing="written"):
            probe.write_bytes(b"")
            probe.unlink()


def _make_tag(facts: dict[str, Any]) -> str:
    etag = (facts.get("ETag") or "").removeprefix("W/").strip('"')
    return f"{TAG}{etag}-{facts['size']}" if etag else ""


@contextmanager
def explain_refusal(place: Any, *, doing: str) -> Iterator[None]:
    """Turn what S3 and the network answer in the block into a sentence: `PLACE cannot be DOING`.

    UsageError if there are no keys or there is no such bucket, else FruitsError.
    """
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, OSError) as error:
        kind, why, remedy = _find_remedy(error, bucket=place.path.partition("/")[0])
        raise kind(f"{place} cannot be {doing}: {why}", cure=remedy) from error


def _find_remedy(error: Exception, *, bucket: str) -> tuple[type[FruitsError], str, str]:
    from botocore import exceptions as boto

    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        remedy = "correct the name, or create it with `scripts/aws_setup.sh create-bucket`"
        return UsageError, f"there is no bucket {bucket}", remedy
    if isinstance(error, PermissionError):
        remedy = "use keys that may (`aws sts get-caller-identity` shows which are in use), or name another folder"
        return FruitsError, f"S3 refuses it ({said})", remedy
    no_keys = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
    if isinstance(error, (*no_keys, boto.ProfileNotFound, boto.SSOError, boto.TokenRetrievalError)):
        remedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws configure` stores them"
        return UsageError, f"no keys to ask S3 with ({said})", remedy
    remedy = "check the network, the bucket's region (AWS_REGION) and AWS_ENDPOINT_URL, if it is set, and try again"
    return FruitsError, f"S3 does not answer as it should ({said})", remedy
