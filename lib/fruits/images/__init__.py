"""Which images there are, and their bytes."""

from pathlib import Path

from fruits.errors import UsageError
from fruits.images.shards import PackedShards, list_shards
from fruits.images.source import ImageSource
from fruits.images.tree import ClassFolders


def open_images(input_dir: Path) -> ImageSource:
    """Open a folder that holds class folders or packed shards.

    Raises
    ------
    UsageError
        If it holds both.
    """
    tree, shards = ClassFolders(input_dir), list_shards(input_dir)
    if not shards:
        return tree
    if splits := tree.list_splits():
        raise UsageError(
            f"{input_dir} holds packed images ({shards[0].name}) and class folders ({', '.join(splits)}); keep one of "
            "the two there, and move the other to a folder of its own."
        )
    return PackedShards(input_dir)
