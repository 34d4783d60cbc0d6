"""A folder of images with a table of their labels, `labels.csv`: path, label and, if it likes, split and group."""

import csv
import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from posixpath import normpath
from typing import Any

from fruits.errors import UsageError
from fruits.folders import as_folder, compose
from fruits.images.rows import ALL
from fruits.images.tree import ClassFolders
from fruits.images.walk import File, Found, join, walk
from fruits.s3 import S3Folder, S3Object

LABELS = "labels.csv"
_COLUMNS = "path (below this folder), label and, if you like, split and group"
# So many problems are named.
_MOST = 5
_Row = tuple[str, str, str]  # path below the folder, label, split


class LabelledImages(ClassFolders):
    """The images that `labels.csv` names, whether or not they are there."""

    def list_splits(self) -> list[str]:
        """Return the splits that the table names, sorted."""
        return sorted({found.split for found in self._found if found.label})

    def _walk(self, split: str) -> list[Found]:
        there = {compose(name): name for name in self.list_splits()}
        if split != ALL and compose(split) not in there:
            raise UsageError(
                f"{self.folder / LABELS} has no split {split!r}; it has {', '.join(there.values())}. Set split to one "
                f"of them, or to {ALL} (every image)."
            )
        asked = {"", there.get(compose(split))}
        return [found for found in self._found if split == ALL or found.split in asked]

    @cached_property
    def _found(self) -> list[Found]:
        """Each image as a folder of its own, and all folders with what the table does not name."""
        folders = list(walk(self.folder))
        files = {join(found.below, name): file for found in folders for name, file in found.files.items()}
        composed = {compose(path): path for path in files}
        images: dict[str, Found] = {}
        for path, label, split in read_labels(self.folder / LABELS):
            forms = (path, composed.get(compose(path)), composed.get(normpath(compose(path).replace("\\", "/"))))
            real = next((form for form in forms if form in files), path)
            below, _, name = real.rpartition("/")
            images[real] = Found(below, {name: files.get(real) or self._name_missing(real)}, label=label, split=split)
        why = (f"not in {LABELS}", f"{LABELS} does not name it")
        others = []
        for found in folders:
            ignored = dict.fromkeys(found.images, why) | found.ignored
            unnamed = {name: ignored[name] for name in ignored if join(found.below, name) not in {LABELS, *images}}
            others.append(Found(found.below, ignored=unnamed))
        return [*images.values(), *others]

    def _name_missing(self, path: str) -> File:
        """Return a file that was not found; it may lie behind a link."""
        return S3Object(path, 0, 0, "") if isinstance(as_folder(self.folder), S3Folder) else self.folder / path


def read_labels(file: Path) -> list[_Row]:
    """Read `labels.csv`: UTF-8, comma or semicolon, columns in any order; an empty split is "all"."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is no text in UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8."
        ) from error
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;", key=first.count))
    rows: list[_Row] = []
    problems = list(_parse(reader, rows, folder=f"{file.parent}/"))
    if problems or not rows:
        more = f"\n  - and {len(problems) - _MOST} more" * (len(problems) > _MOST)
        said = "".join(f"\n  - {problem}" for problem in problems[:_MOST] or ["it names no image"])
        raise UsageError(f"{file} cannot be used; its columns are {_COLUMNS}:{said}{more}")
    return rows


def _parse(reader: Any, rows: list[_Row], *, folder: str) -> Iterator[str]:
    """Append the rows that are right, and yield what is wrong with the others."""
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in ("path", "label") if name not in names]:
            yield f"line 1: the header has no {' and no '.join(missing)}; it is {', '.join(names) or 'empty'}"
            return
        if twice := {name for name in names if name and names.count(name) > 1}:
            yield f"line 1: the header has {', '.join(sorted(twice))} twice"
        lines: dict[str, int] = {}
        for cells in reader:
            cell = dict.fromkeys(names, "") | dict(zip(names, map(str.strip, cells), strict=False))
            path, label, line = cell["path"].removeprefix(folder), cell["label"], reader.line_num
            if not any(cells):
                continue
            if any(cells[len(names) :]):
                yield f"line {line}: {len(cells)} cells, the header has {len(names)}; quote a text that holds a comma"
                continue
            if not path or not label:
                yield f"line {line}: {'label' if path else 'path'} is empty"
            elif (path := normpath(path)).startswith(("/", "../")) or path in {".", ".."} or "\0" in path:
                yield f"line {line}: {cell['path']!r} is no path below this folder"
            elif (before := lines.setdefault(compose(path), line)) != line:
                yield f"line {line}: {path!r} is in line {before} too"
            else:
                rows.append((path, label, cell.get("split") or ALL))
    except csv.Error as error:
        yield f"line {reader.line_num}: {error}"
