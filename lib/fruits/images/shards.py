"""Packed images: a few Parquet shards in the place of thousands of small files.

The rows lie in the order of their paths, in small row groups, so the statistics of the `path` column are an index:
a worker finds an image's row group by bisection and reads nothing else.
"""

from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.errors import FruitsError, UsageError
from fruits.folders import as_folder, compose, open_parquet
from fruits.images.ignored import IMAGE_SUFFIXES
from fruits.images.rows import LISTED, PACKED, arrow_schema

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = arrow_schema(PACKED)
# Of the shards that earlier versions packed.
_WITHOUT_DIGEST = SCHEMA.remove(SCHEMA.get_field_index("digest"))
# What a worker reads at once: 5 MB of Fruits-360.
GROUP_ROWS = 1024


def name_shard(number: int) -> str:
    """Return the name of a shard; `list_shards` takes files of such names alone."""
    return f"images-{number:05d}.parquet"


def list_shards(folder: Path) -> list[Path]:
    """Return the shards of a packed folder in order; none for a folder of class folders."""
    named = sorted(folder.glob("images-" + "[0-9]" * 5 + ".parquet"))
    folders = as_folder(folder).list_folders() if named else []
    return [shard for shard in named if shard.name not in folders]


def is_packed(folder: Path) -> bool:
    """Tell a folder of shards from one of class folders.

    Raises
    ------
    UsageError
        If it is both.
    """
    from fruits.images.tree import list_folders  # which imports what reads images, and so this module

    shards = list_shards(folder)
    if shards and (beside := [split for split in list_folders(folder) if _has_classes(folder / split)]):
        raise UsageError(
            f"{folder} holds packed images ({shards[0].name}) and class folders ({', '.join(beside)}); keep one of "
            "the two there, and move the other to a folder of its own."
        )
    return bool(shards)


def _has_classes(folder: Path) -> bool:
    return any(file.name.lower().endswith(IMAGE_SUFFIXES) for file in folder.glob("*/*"))


def list_packed(folder: Path, *, split: str) -> "pd.DataFrame":
    """List the images of a split in the shards; columns as `listing.list_images` has them.

    `digest` is empty in shards that were packed without it.

    Raises
    ------
    FruitsError
        For a shard that cannot be read.
    UsageError
        For a file that is no shard, or no image of the split in any.
    """
    tables = [open_shard(shard).read(LISTED) for shard in list_shards(folder)]
    joined = pa.concat_tables([arrow_schema(LISTED).empty_table(), *tables], promote_options="default")
    table: pd.DataFrame = joined.to_pandas().fillna({"digest": ""})
    images = table[table["split"].map(compose) == compose(split)]
    if images.empty:
        there = ", ".join(sorted(set(table["split"]))) or "no images"
        raise UsageError(f"{folder} is packed and holds no {split} images, but {there}; pack a folder that has them.")
    return images.reset_index(drop=True)


class PackedImages:
    """Reads images out of shards; keeps one row group in memory, which suits readers that go by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = -1
        self._images: dict[str, bytes | None] = {}

    def __reduce__(self) -> tuple[type["PackedImages"], tuple[Path]]:
        return PackedImages, (self.folder,)

    def read(self, path: str, *, tag: str = "") -> bytes:
        """Return the bytes of an image, as it was when it was packed.

        Raises
        ------
        OSError
            If the image is not there, or could not be read when it was packed.
        """
        place = bisect_right(self._firsts, path) - 1
        if place != self._place:
            shard, group = self._places[place]
            rows = shard.read_row_group(group, columns=["path", "content"])
            self._images = dict(zip(rows["path"].to_pylist(), rows["content"].to_pylist(), strict=True))
            self._place = place
        if path not in self._images:
            raise FileNotFoundError(f"not in the shards of {self.folder}")
        content = self._images[path]
        if content is None:
            raise OSError("could not be read when it was packed")
        return content

    @cached_property
    def _places(self) -> list[tuple[pq.ParquetFile, int]]:
        shards = map(open_shard, list_shards(self.folder))
        return [(shard, group) for shard in shards for group in range(shard.num_row_groups)]

    @cached_property
    def _firsts(self) -> list[str]:
        """Return the first path of each row group."""
        return [shard.metadata.row_group(group).column(0).statistics.min for shard, group in self._places]


def open_shard(file: Path) -> pq.ParquetFile:
    """Open a shard.

    Raises
    ------
    FruitsError
        For a file that cannot be read.
    UsageError
        For a Parquet file with other columns than a shard has.
    """
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
