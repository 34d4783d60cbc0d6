"""Images as files, local or in S3: `<split>/<class>/<image>` at any depth, or every image below a folder."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fruits.errors import UsageError, quote_first
from fruits.folders import as_folder, compose
from fruits.images.formats import IMAGE_SUFFIXES, Why, explain_ignored_name
from fruits.images.rows import ALL, LISTED, IgnoredRow
from fruits.images.selection import choose_classes, match_classes
from fruits.images.source import CHANGED, ImageSource
from fruits.images.walk import Found, is_spelt, join, look_at, spell_name, walk

if TYPE_CHECKING:
    import pandas as pd

# Folders that are splits when all images are asked for, in any case.
SPLITS = {"training", "train", "test", "validation", "valid", "val"}


class ClassFolders(ImageSource):
    """Images as files in folders. Each split is walked once, when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._walked: dict[str, list[Found]] = {}

    def list_splits(self) -> list[str]:
        """Return the names of the folders that hold images in class folders, sorted."""
        return [name for name in self._list_folders() if any(found.images for found in self._walk(name))]

    def list_images(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List files with a suffix of images, and files without any suffix that start like an image."""
        import pandas as pd

        rows = [
            (spell_name(join(found.below, name)), found.label, found.split, *look_at(file))
            for found in self._match(split, classes)
            for name, file in found.images.items()
        ]
        table = pd.DataFrame(rows, columns=LISTED).astype({"length": "int64", "modified": "int64"})
        return table.sort_values("path", ignore_index=True)

    def list_ignored(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List the other files; of a folder that is left out, its name alone."""
        import pandas as pd

        folders = self._walk(split)
        asked = choose_classes((found.label for found in folders if found.label), classes)
        rows = [
            (spell_name(join(found.below, name)), *why)
            for found in folders
            if not found.label or found.label in asked
            for name, why in found.ignored.items()
        ]
        return pd.DataFrame(sorted(rows), columns=IgnoredRow._fields, dtype=str)

    def check_classes(self, *, split: str, classes: Sequence[str]) -> int:
        """Count the images; refuse a missing split, one without images, and a glob that matches nothing."""
        return sum(len(found.images) for found in self._match(split, classes))

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Read a file."""
        if is_spelt(path):
            raise OSError("the name is not UTF-8, or looks like one that is not; rename the file or its folder")
        content, now = as_folder(self.folder).read_tagged(path)
        if tag and now != tag:
            raise OSError(CHANGED)
        return content

    def _match(self, split: str, classes: Sequence[str]) -> list[Found]:
        folders = self._walk(split)
        where = self.folder if split == ALL else self.folder / split
        there = [found.label for found in folders if found.images]
        if not there:
            raise UsageError(f"{where} holds {_describe_nothing(folders)}")
        ignored = {found.label: found.ignored.values() for found in folders if found.label and found.ignored}
        empty = {
            label: f"{len(whys)} file{'s' * (len(whys) > 1)}, none is an image: {_count_kinds(whys)}"
            for label, whys in ignored.items()
        }
        asked = match_classes(there, classes, where=f"class folders with images of {where}", empty=empty)
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
            f"there is no folder {self.folder / split}; {self.folder} holds {', '.join(there[:10]) or 'no folder'}. "
            f"Set split to the folder that holds the class folders, or to {ALL}: every image below {self.folder}."
        )

    def _walk(self, split: str) -> list[Found]:
        """Return the folders of a split, with their paths below the input folder."""
        name = split if split == ALL else self._find_split(split)
        if name not in self._walked:
            if split == ALL:
                self._walked[name] = [_label_by_path(found, self.folder.name) for found in walk(self.folder)]
            else:
                self._walked[name] = [_label_by_folder(found, name) for found in walk(self.folder / name)]
        return self._walked[name]


def _label_by_folder(found: Found, split: str) -> Found:
    """Give a folder below a split its own name as label; images in the split itself have no class."""
    below, label = join(split, found.below), spell_name(found.below.rpartition("/")[2])
    why = ("no class", "beside the class folders, not in one")
    beside = {} if label else dict.fromkeys(found.images, why)
    return replace(found, below=below, label=label, split=split, ignored=found.ignored | beside)


def _label_by_path(found: Found, root: str) -> Found:
    """Give a folder its path as label, below a folder that is named like a split; `root` is the name of the top."""
    first, _, rest = found.below.partition("/")
    if first.casefold() in SPLITS:
        return replace(found, label=spell_name(rest or first), split=spell_name(first))
    return replace(found, label=spell_name(found.below or root or ALL), split=ALL)


def _describe_nothing(folders: Iterable[Found]) -> str:
    files = {join(found.below, name): why for found in folders for name, why in found.ignored.items()}
    there = f"but {_count_kinds(files.values())} (such as {quote_first(sorted(files))})"
    there = there if files else "and nothing else"
    return f"no images, {there}. Taken are {', '.join(IMAGE_SUFFIXES)}, and files without a suffix that are one."


def _count_kinds(ignored: Iterable[Why]) -> str:
    counts = Counter(kind for kind, _ in sorted(ignored))
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
