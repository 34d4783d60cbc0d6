"""A folder of images bundled into a few Parquet shards."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from fruits.errors import FruitsError, UsageError
from fruits.folders import as_folder, open_output, relate
from fruits.images import open_images
from fruits.images.labels import LabelledImages
from fruits.images.rows import ALL
from fruits.images.shards import GROUP_ROWS, SCHEMA, list_shards, name_shard, open_shard
from fruits.images.source import read_as_listed
from fruits.images.tree import ClassFolders
from fruits.ownership import list_foreign
from fruits.progress import BAR_COLUMNS
from fruits_cli.streams import ProgressWriter

# The size of an HDFS block and of Spark's splits: one GET of S3 answers for 26,000 images of 5 kB.
SHARD_BYTES = 128 * 2**20


@dataclass(frozen=True)
class PackReport:
    """How many images went into how many shards of how many bytes, and which could not be read."""

    images: int
    shards: int
    bytes: int
    unreadable: list[str]


def pack_images(input_dir: Path, output_dir: Path, *, shard_bytes: int = SHARD_BYTES) -> PackReport:
    """Bundle all images of a folder into shards; the same images make the same bytes.

    `input_dir` holds the splits, such as `Training/` and `Test/`: all folders with images in class folders. One
    without splits, or with a `labels.csv`, is packed as it is listed. `output_dir` is new or empty, or an older
    pack, which is replaced when the new one is whole.
    """
    tree = _check_folders(input_dir, output_dir)
    images = _list_everything(tree)
    unreadable: list[str] = []
    as_folder(output_dir.parent).hold()
    with as_folder(output_dir).replaced() as draft:
        with tqdm(total=len(images), unit=" images", file=ProgressWriter(sys.stdout), ncols=BAR_COLUMNS) as bar:
            place = (images["length"].cumsum() - images["length"]) // shard_bytes
            for number, (_, shard) in enumerate(images.groupby(place)):
                with (
                    open_output(draft / name_shard(number)) as stream,
                    pq.ParquetWriter(stream, SCHEMA, compression="NONE") as writer,
                ):
                    for start in range(0, len(shard), GROUP_ROWS):
                        writer.write_table(_read_group(tree, shard[start : start + GROUP_ROWS], unreadable))
                        bar.update(len(shard[start : start + GROUP_ROWS]))
        shards = list_shards(draft)
        size = sum(shard.stat().st_size for shard in shards)
        _check_replaceable(output_dir)  # once more: others may have put files there meanwhile
    return PackReport(len(images), len(shards), size, unreadable)


def _list_everything(tree: ClassFolders) -> pd.DataFrame:
    """List the images of all splits with the labels that these have there, and all others without a split."""
    splits = [] if isinstance(tree, LabelledImages) else tree.list_splits()
    named = [tree.list_images(split=split, classes=["*"]) for split in splits]
    everything = tree.list_images(split=ALL, classes=["*"])
    if named:
        everything = everything[~everything["path"].isin(pd.concat(named)["path"])].assign(split=ALL)
    return pd.concat([*named, everything]).sort_values("path", ignore_index=True)


def _check_folders(input_dir: Path, output_dir: Path) -> ClassFolders:
    for folder in (input_dir, output_dir):
        as_folder(folder).check_listable()
    tree = open_images(input_dir)
    if not isinstance(tree, ClassFolders):
        raise UsageError(f"{input_dir} is packed already; name the folder that holds the image files.")
    _check_replaceable(output_dir)
    if how := relate(output_dir, input_dir):
        raise UsageError(f"{output_dir} {how} {input_dir}, the images to pack; name a folder outside of them.")
    return tree


def _read_group(tree: ClassFolders, images: pd.DataFrame, unreadable: list[str]) -> pa.Table:
    found: list[tuple[bytes | None, str]] = []
    for image in images.itertuples():
        try:
            found.append(read_as_listed(tree, image.path, length=image.length, digest=image.digest))
        except OSError:
            found.append((None, ""))
            unreadable.append(image.path)
    contents, digests = zip(*found, strict=True)
    table = pa.Table.from_pandas(images.assign(content=contents, digest=digests), schema=SCHEMA, preserve_index=False)
    # pandas would add its version, and other bytes with each release.
    return table.replace_schema_metadata(SCHEMA.metadata)


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but whole shards: what else is there would be lost."""
    if not folder.exists() and not folder.is_symlink():
        return
    shards = list_shards(folder)
    others = list_foreign(folder, names={shard.name for shard in shards}) if folder.is_dir() else [folder.name]
    for shard in shards:
        try:
            open_shard(shard).close()
        except FruitsError:
            others.append(shard.name)
    if others:
        raise UsageError(
            f"{folder} holds other things than shards of packed images ({others[0]}); name a new or an empty folder."
        )
