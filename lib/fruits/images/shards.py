"""Packed images: a few Parquet shards instead of thousands of small files.

The rows are sorted by path and lie in small row groups. So the statistics of the `path` column are an index: a worker
finds the row group of an image by bisection and reads nothing else.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.errors import FruitsError, UsageError
from fruits.folders import as_folder, compose, open_parquet
from fruits.images.rows import ALL, LISTED, PACKED, IgnoredRow, arrow_schema
from fruits.images.selection import match_classes
from fruits.images.source import ImageSource

if TYPE_CHECKING:
    import pandas as pd

# Earlier versions did not say it: they gave turned images the digest of upright ones.
_KNOWS_TURNED = {b"fruits.turned": b"yes"}
SCHEMA = arrow_schema(PACKED).with_metadata(_KNOWS_TURNED)
# Of the shards that earlier versions packed.
_WITHOUT_DIGEST = SCHEMA.remove(SCHEMA.get_field_index("digest"))
# What a worker reads at once: 5 MB of Fruits-360.
GROUP_ROWS = 1024
# Threads that draw a page share a reader, and two in one Parquet file of S3 end the process. No attribute: readers
# travel to workers, locks cannot.
_READING = Lock()


def name_shard(number: int) -> str:
    """Return the name of a shard; `list_shards` takes files of such names alone."""
    return f"images-{number:05d}.parquet"


def list_shards(folder: Path) -> list[Path]:
    """Return the shards of a packed folder in order; none for a folder of class folders."""
    named = sorted(folder.glob("images-" + "[0-9]" * 5 + ".parquet"))
    folders = as_folder(folder).list_folders() if named else []
    return [shard for shard in named if shard.name not in folders]


def open_shard(file: Path) -> pq.ParquetFile:
    """Open a shard; FruitsError if it cannot be read, UsageError if it has other columns."""
    try:
        shard = open_parquet(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise FruitsError(
            f"{file} cannot be read as a shard of packed images ({error}); remove {file.parent} and pack it anew."
        ) from error
    if not any(map(shard.schema_arrow.equals, (SCHEMA, _WITHOUT_DIGEST))):
        raise UsageError(
            f"{file} is no shard of packed images: it has the columns {', '.join(shard.schema_arrow.names)}; "
            f"`fruits pack INPUT OUT` makes shards of {', '.join(SCHEMA.names)}."
        )
    return shard


class PackedShards(ImageSource):
    """Images in Parquet files; keeps one row group in memory, which suits readers that go by path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._group = -1
        self._images: dict[str, bytes | None] = {}

    def list_splits(self) -> list[str]:
        """Return the splits that were packed, sorted."""
        return sorted(set(self._table["split"]))

    def list_images(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """List the images in the shards, with the labels they were packed with."""
        table = self._table
        images = table if split == ALL else table[table["split"].map(compose) == compose(split)]
        if images.empty:
            there = ", ".join(self.list_splits()) or "no images"
            raise UsageError(
                f"{self.folder} is packed and holds no {split} images, but {there}; set split to one of them or to "
                f"{ALL} (every image), or pack a folder that has them."
            )
        asked = match_classes(images["label"], classes, where=f"classes of {split} packed in {self.folder}")
        return images[images["label"].isin(asked)].sort_values("path", ignore_index=True)

    def list_ignored(self, *, split: str, classes: Sequence[str]) -> "pd.DataFrame":
        """Return an empty table: only images are packed."""
        import pandas as pd

        return pd.DataFrame([], columns=IgnoredRow._fields, dtype=str)

    def check_classes(self, *, split: str, classes: Sequence[str]) -> int:
        """Count the images; refuse a missing split and a glob that matches nothing."""
        return len(self.list_images(split=split, classes=classes))

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return an image as it was when it was packed; its tag is not needed."""
        with _READING:
            group = bisect_right(self._firsts, path) - 1
            if group != self._group:
                shard, number = self._groups[group]
                rows = shard.read_row_group(number, columns=["path", "content"])
                self._images = dict(zip(rows["path"].to_pylist(), rows["content"].to_pylist(), strict=True))
                self._group = group
            if path not in self._images:
                raise FileNotFoundError(f"not in the shards of {self.folder}")
            content = self._images[path]
        if content is None:
            raise OSError("could not be read when it was packed")
        return content

    @cached_property
    def _table(self) -> "pd.DataFrame":
        """All images; those packed by an earlier version have no digest."""
        tables = [arrow_schema(LISTED).empty_table()]
        for file in list_shards(self.folder):
            shard = open_shard(file)
            known = _KNOWS_TURNED.items() <= (shard.schema_arrow.metadata or {}).items()
            tables.append(shard.read([name for name in LISTED if known or name != "digest"]))
        table: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
        return table.fillna({"digest": ""})

    @cached_property
    def _groups(self) -> list[tuple[pq.ParquetFile, int]]:
        shards = map(open_shard, list_shards(self.folder))
        return [(shard, group) for shard in shards for group in range(shard.num_row_groups)]

    @cached_property
    def _firsts(self) -> list[str]:
        """The first path of each row group."""
        return [shard.metadata.row_group(group).column(0).statistics.min for shard, group in self._groups]
