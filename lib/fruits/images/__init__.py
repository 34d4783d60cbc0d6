"""Which images there are, and their bytes."""

from pathlib import Path

from fruits.errors import UsageError
from fruits.images.labels import LABELS, LabelledImages
from fruits.images.shards import PackedShards, list_shards
from fruits.images.source import ImageSource
from fruits.images.tree import ClassFolders


def open_images(input_dir: Path) -> ImageSource:
    """Open a folder of images, of images and a table of their labels, or of packed shards and nothing else."""
    labelled, shards = (input_dir / LABELS).is_file(), list_shards(input_dir)
    tree = LabelledImages(input_dir) if labelled else ClassFolders(input_dir)
    if not shards:
        return tree
    splits = [] if labelled else tree.list_splits()
    if labelled or splits:
        beside = f"class folders ({', '.join(splits)})" if splits else LABELS
        raise UsageError(
            f"{input_dir} holds packed images ({shards[0].name}) and {beside}; keep one of the two there, and move the "
            "other to a folder of its own."
        )
    return PackedShards(input_dir)
