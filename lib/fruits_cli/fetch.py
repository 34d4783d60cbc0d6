"""The images that a mode needs, and no others, out of the public archive or a local copy of it."""

import re
import struct
import sys
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

import pandas as pd
from tqdm import tqdm

from fruits.errors import FruitsError, UsageError, quote_first
from fruits.folders import as_folder, compose, write_bytes
from fruits.images.formats import IMAGE_SUFFIXES, explain_ignored_name
from fruits.images.selection import match_classes, select_images
from fruits.images.shards import list_shards
from fruits.progress import BAR_COLUMNS
from fruits.s3 import S3Folder
from fruits_cli.http_file import HttpFile, hide_secrets
from fruits_cli.streams import ProgressWriter

ARCHIVE_URL = "https://s3.eu-west-1.amazonaws.com/course.oc-static.com/projects/Data_Scientist_P8/fruits.zip"
# Neighbours in the archive come in one request: at some 5 kB an image, all 67,692 of Training in about a hundred.
BLOCK_BYTES = 4 * 2**20
# Skipping fewer bytes than this costs more time for one more request than reading them does.
GAP_BYTES = 64 * 2**10
# What zipfile reads: stored, Deflate, bzip2, LZMA; of the others those that programs write today.
_METHODS = {0, 8, 12, 14}
_UNREAD_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}
_UTF8_FLAG, _ENCRYPTED_FLAG, _UNICODE_PATH = 0x800, 0x1, 0x7075
# What zipfile raises for a wrong checksum, bad compressed data or name, or an early end; bzip2: OSError.
_DAMAGED = (BadZipFile, zlib.error, LZMAError, EOFError, OSError, RuntimeError, ValueError)
_Members = dict[str, ZipInfo]


@dataclass(frozen=True)
class FetchReport:
    """How many images were wanted, and how many of them were not there yet and have been fetched."""

    wanted: int
    fetched: int


def fetch_images(
    destination: Path,
    *,
    split: str,
    classes: Sequence[str],
    max_images: int,
    seed: int,
    archive: str | Path = ARCHIVE_URL,
) -> FetchReport:
    """Bring the images that `select_images` chooses of the whole archive; run it again to resume.

    They go to `<destination>/<split>/<class>/<file>`. The archive is a local zip file, or a URL whose server
    answers byte ranges.
    """
    _check_destination(destination)
    origin = hide_secrets(archive)
    with _open_archive(archive, origin=origin) as opened:
        members = _list_split(opened, split=split, origin=origin)
        wanted = _choose(members, split=split, classes=classes, max_images=max_images, seed=seed)
        missing = _missing(wanted, destination)
        _check_methods(missing.values(), origin=origin)
        if isinstance(opened.fp, HttpFile):
            opened.fp.blocks = _plan_blocks(opened, missing.values())
        try:
            _copy(opened, missing, wanted=wanted, destination=destination)
        except FruitsError as error:
            there = f"{len(wanted) - len(_missing(wanted, destination))} of {len(wanted)} images are in {destination}"
            text = f"{str(error).rstrip('.')}; {there}, and the same command goes on where it stopped."
            raise FruitsError(text) from error
    return FetchReport(wanted=len(wanted), fetched=len(missing))


def _check_destination(destination: Path) -> None:
    if isinstance(as_folder(destination), S3Folder):
        raise UsageError(
            f"{destination} lies in S3; fetch into a local folder, and `fruits pack` it into one of S3 from there."
        )
    if list_shards(destination):
        raise UsageError(f"{destination} holds packed images, and can hold no class folders; name another.")


@contextmanager
def _open_archive(archive: str | Path, *, origin: str) -> Iterator[ZipFile]:
    is_url = str(archive).lower().startswith(("http://", "https://"))
    try:
        file = HttpFile(str(archive)) if is_url else Path(archive).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"{origin} cannot be opened ({error.strerror}); name a zip file or a URL.") from error
    with file:
        try:
            opened = ZipFile(file)
        except _DAMAGED as error:
            raise FruitsError(f"{origin} is not a zip file, or a damaged one ({error}); get a whole copy.") from error
        yield opened


def _list_split(archive: ZipFile, *, split: str, origin: str) -> _Members:
    """Map `<split>/<class>/<file>` to its member, under the root that holds the most images of the split."""
    roots: dict[str, _Members] = defaultdict(dict)
    splits = set()
    for member in archive.infolist():
        name = _read_name(member)
        parts = [] if name.endswith(("/", "\\")) else _split_name(name)
        if len(parts) < 3 or not parts[-1].lower().endswith(IMAGE_SUFFIXES):
            continue
        splits.add(parts[-3])
        if compose(parts[-3]) == compose(split):
            roots["/".join(parts[:-3])]["/".join(parts[-3:])] = member
    if not roots:
        found = quote_first(sorted(splits)) or "no image in a class folder"
        raise UsageError(f"{origin} holds no {split}/<class>/<image>; found: {found}. Is it the Fruits-360 archive?")
    return max(roots.values(), key=len)


def _read_name(member: ZipInfo) -> str:
    """Return a member's name; many programs write UTF-8 and do not say so, which zipfile takes for code page 437."""
    if member.flag_bits & _UTF8_FLAG:
        return member.filename
    raw, extra = member.orig_filename.encode("cp437"), member.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        # Version 1, then the checksum of the name that this one replaces.
        if kind == _UNICODE_PATH and extra[4:9] == struct.pack("<BI", 1, zlib.crc32(raw)):
            raw = extra[9 : 4 + length]
            break
        extra = extra[4 + length :]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return member.filename


def _split_name(name: str) -> list[str]:
    """Return the parts of a name below the destination; none for a name that leads or belongs elsewhere."""
    parts = re.sub(r"^[A-Za-z]:", "", name.partition("\0")[0].replace("\\", "/")).split("/")
    parts = [part for part in parts if part not in {"", "."}]
    return [] if any(map(explain_ignored_name, parts)) else parts


def _choose(members: _Members, *, split: str, classes: Sequence[str], max_images: int, seed: int) -> _Members:
    images = pd.DataFrame({"path": list(members), "label": [path.split("/")[1] for path in members], "split": split})
    asked = match_classes(images["label"], classes, where="classes of the archive")
    chosen = select_images(images[images["label"].isin(asked)], max_images=max_images, seed=seed)
    return {path: members[path] for path in chosen["path"]}


def _check_methods(members: Collection[ZipInfo], *, origin: str) -> None:
    for member in members:
        if member.flag_bits & _ENCRYPTED_FLAG:
            what = "is encrypted"
        elif member.compress_type not in _METHODS:
            method = _UNREAD_METHODS.get(member.compress_type, "an old method")
            what = f"is compressed by {method} (method {member.compress_type}), which is not read"
        else:
            continue
        raise UsageError(
            f"{origin}: {member.filename} {what}; unpack the archive with 7-Zip (`7z x FILE`) and set input_dir to the "
            "folder that holds the splits, or zip it anew by Deflate, without a password."
        )


def _missing(members: _Members, destination: Path) -> _Members:
    """Leave out the members whose file is there with the right content."""
    return {path: member for path, member in members.items() if not _is_there(destination / path, member)}


def _is_there(file: Path, member: ZipInfo) -> bool:
    try:
        return file.stat().st_size == member.file_size and zlib.crc32(file.read_bytes()) == member.CRC
    except OSError:
        return False


def _plan_blocks(archive: ZipFile, members: Collection[ZipInfo]) -> list[tuple[int, int]]:
    """Join members that lie close together into (first byte, byte after the last)."""
    starts = sorted({member.header_offset for member in archive.infolist()})
    ends = dict(zip(starts, [*starts[1:], archive.start_dir], strict=True))
    blocks: list[tuple[int, int]] = []
    for start in sorted({member.header_offset for member in members}):
        first, last = blocks[-1] if blocks else (0, -GAP_BYTES - 1)
        if start - last <= GAP_BYTES and ends[start] - first <= BLOCK_BYTES:
            blocks[-1] = (first, ends[start])
        else:
            blocks.append((start, ends[start]))
    return blocks


def _copy(archive: ZipFile, missing: _Members, *, wanted: _Members, destination: Path) -> None:
    """Write the missing members, in the order of the archive, and check that all wanted ones are there then."""
    as_folder(destination).check_writable()
    as_folder(destination).hold()
    done = len(wanted) - len(missing)
    bar = tqdm(total=len(wanted), initial=done, file=ProgressWriter(sys.stderr), unit=" images", ncols=BAR_COLUMNS)
    with bar:
        for path, member in sorted(missing.items(), key=lambda item: item[1].header_offset):
            try:
                content = archive.read(member)
            except _DAMAGED as error:
                raise FruitsError(f"{member.filename} is damaged in the archive or on the way ({error}).") from error
            try:
                write_bytes(destination / path, content)
            except OSError as error:
                raise FruitsError(f"{destination / path} cannot be written ({error.strerror}).") from error
            bar.update()
    if _missing(wanted, destination):
        raise FruitsError(f"something else changes {destination}, or two names are one in its file system.")
