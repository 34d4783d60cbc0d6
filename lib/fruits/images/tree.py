"""Class folders, local or in S3: `<split>/<class>/<image>`, at any depth."""

import os
import re
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fruits.errors import UsageError
from fruits.folders import as_folder, compose
from fruits.images.formats import HEAD_BYTES, Why, explain_ignored_file, explain_ignored_name, has_suffix
from fruits.images.rows import LISTED, IgnoredRow
from fruits.images.selection import choose_classes, match_classes
from fruits.images.source import CHANGED, ImageSource
from fruits.s3 import S3Folder, S3Object

if TYPE_CHECKING:
    import pandas as pd

_SPELT_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")
# What an int64 holds: nanoseconds from 1677 to 2262.
_TIMES = (-(2**63), 2**63 - 1)
_SPECIAL = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def spell_name(name: str) -> str:
    r"""Write a name that is not UTF-8 so that Arrow, Parquet and CSV can hold it: its odd bytes as \udc80 to \udcff.

    In these names, and in those that look like one, backslashes are doubled, so that two names never become one; all
    others stay as they are. The result may be the name of another file: `ClassFolders.read` refuses such names.
    """
    spelt = name.encode("utf-8", "backslashreplace").decode()
    if not _SPELT_BYTE.search(spelt):
        return name
    return name.replace("\\", r"\\").encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Found:
    """A folder and its files by name; `below` is its path below the folder that was walked, empty for that itself."""

    below: str
    images: dict[str, "os.DirEntry[str] | S3Object"] = field(default_factory=dict)
    ignored: dict[str, Why] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The class of its images."""
        return spell_name(self.below.rpartition("/")[2])


class ClassFolders(ImageSource):
    """Images as files in class folders. Each split is walked once, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._walked: dict[str, list[Found]] = {}

    def list_splits(self) -> list[str]:
        """Return the names of the folders that hold images in class folders, sorted."""
        return [name for name in self._list_folders() if any(found.images for found in self._walk(name))]

    def list_images(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List files with a suffix of images, and files without any suffix that start like an image."""
        import pandas as pd

        split = self._find_split(split)
        rows = [
            (spell_name(f"{split}/{found.below}/{name}"), found.label, split, *_look_at(file))
            for found in self._match(split, classes)
            for name, file in found.images.items()
        ]
        table = pd.DataFrame(rows, columns=LISTED).astype({"length": "int64", "modified": "int64"})
        return table.sort_values("path", ignore_index=True)

    def list_ignored(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List the other files; of a folder that is left out, its name alone."""
        import pandas as pd

        split = self._find_split(split)
        folders = self._walk(split)
        asked = choose_classes((found.label for found in folders if found.below), classes)
        rows = [
            (spell_name("/".join(filter(None, (split, found.below, name)))), *why)
            for found in folders
            if not found.below or found.label in asked
            for name, why in found.ignored.items()
        ]
        return pd.DataFrame(sorted(rows), columns=IgnoredRow._fields, dtype=str)

    def check_classes(self, *, split: str, classes: Sequence[str]) -> None:
        """Refuse a missing split and a glob that matches nothing."""
        self._match(self._find_split(split), classes)

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Read a file."""
        if _SPELT_BYTE.search(path):
            raise OSError("the name is not UTF-8, or looks like one that is not; rename the file or its folder")
        content, now = as_folder(self.folder).read_tagged(path)
        if tag and now != tag:
            raise OSError(CHANGED)
        return content

    def _match(self, split: str, classes: Sequence[str]) -> list[Found]:
        folders = [found for found in self._walk(split) if found.below]
        there = [found.label for found in folders if found.images]
        empty = {found.label: _count_kinds(found.ignored.values()) for found in folders if found.ignored}
        where = f"class folders with images of {self.folder / split}"
        asked = match_classes(there, classes, where=where, empty=empty)
        return [found for found in folders if found.images and found.label in asked]

    def _list_folders(self) -> list[str]:
        """Return the folders that may be splits, sorted: all but hidden ones and those of the system."""
        return [name for name in as_folder(self.folder).list_folders() if not explain_ignored_name(name)]

    def _find_split(self, split: str) -> str:
        """Return the name of the folder of a split; its accents may be written in another form."""
        if as_folder(self.folder / split).exists():
            return split
        there = self._list_folders()
        if same := [name for name in there if compose(name) == compose(split)]:
            return same[0]
        raise UsageError(
            f"there is no folder {self.folder / split}; input_dir must hold {split}/<class>/<image>, and holds "
            f"{', '.join(there[:10]) or 'no folder'}. Set split or input_dir, or `fruits fetch MODE` brings Fruits-360."
        )

    def _walk(self, split: str) -> list[Found]:
        if split not in self._walked:
            self._walked[split] = list(walk(self.folder / split))
        return self._walked[split]


def walk(root: Path) -> Iterable[Found]:
    """Find `root` and every folder below it."""
    folder = as_folder(root)
    return _walk_objects(folder) if isinstance(folder, S3Folder) else _walk_folders(root)


def _walk_objects(root: S3Folder) -> Iterable[Found]:
    """Group a listing by folders; look into files without a suffix, all at once."""
    objects = list(root.list_objects())
    unclear = [file.name for file in objects if file.length and not has_suffix(file.name.rpartition("/")[2])]
    heads = root.read_heads(unclear, length=HEAD_BYTES)
    folders: dict[str, Found] = {}
    for file in objects:
        parts = file.name.split("/")
        # A folder that is left out is one entry of its parent.
        place = next((place for place, part in enumerate(parts) if explain_ignored_name(part)), len(parts) - 1)
        below, name = "/".join(parts[:place]), parts[place]
        found = folders.setdefault(below, Found(below))
        head = partial(bytes, heads.get(file.name, b""))
        if why := explain_ignored_name(name) or explain_ignored_file(name, in_class=bool(below), read_head=head):
            found.ignored[name] = why
        else:
            found.images[name] = file
    return folders.values()


def _walk_folders(root: Path) -> Iterator[Found]:
    """Follow linked folders once."""
    seen = set()
    waiting = deque([""])
    while waiting:
        below = waiting.popleft()
        if (real := os.path.realpath(root / below)) in seen:
            continue
        seen.add(real)
        found = Found(below)
        for entry in _scan(root / below):
            child = f"{below}/{entry.name}" if below else entry.name
            if why := explain_ignored_name(entry.name):
                found.ignored[entry.name] = why
            elif entry.is_dir(follow_symlinks=False):
                waiting.appendleft(child)
            elif entry.is_symlink() and as_folder(Path(entry.path)).exists():
                waiting.append(child)  # after all real folders: a class keeps its own name
            elif why := _explain_ignored(entry, in_class=bool(below)):
                found.ignored[entry.name] = why
            else:
                found.images[entry.name] = entry
        yield found


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be listed ({error.strerror}); make it readable, or move it elsewhere."
        ) from error


def _explain_ignored(file: "os.DirEntry[str]", *, in_class: bool) -> Why | None:
    """Look at the kind of file first: opening a pipe would wait for ever."""
    if not file.is_file(follow_symlinks=False):
        with suppress(OSError):
            if kind := _SPECIAL.get(stat.S_IFMT(file.stat().st_mode)):
                return kind, f"a {kind}, not a file"
    return explain_ignored_file(file.name, in_class=in_class, read_head=partial(_read_head, file.path))


def _read_head(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _look_at(file: "os.DirEntry[str] | S3Object") -> tuple[int, int, str]:
    """Return length, time of modification and digest, as far as they are known."""
    if isinstance(file, S3Object):
        return file.length, file.modified, file.tag
    try:
        status = file.stat()
    except OSError:
        return 0, 0, ""
    return status.st_size, min(max(status.st_mtime_ns, _TIMES[0]), _TIMES[1]), ""


def _count_kinds(ignored: Iterable[Why]) -> str:
    """Count files by kind: "13 files, none is an image: 12 .gif, 1 hidden"."""
    counts = Counter(kind for kind, _ in sorted(ignored))
    total = counts.total()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"{total} file{'s' * (total > 1)}, none is an image: {kinds}"
