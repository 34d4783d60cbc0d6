"""A few images to look at."""

import contextlib
from pathlib import Path

import pandas as pd

from fruits.images.decode import DecodeError, Pixels, decode_image
from fruits.images.source import open_source


def read_examples(images: pd.DataFrame, *, input_dir: Path, count: int) -> list[tuple[str, Pixels]]:
    """Read a few images, one of each class in turn, to be looked at; those that cannot be read are passed over.

    Returns
    -------
    list of (label, pixels)
        Pixels (100, 100, 3) uint8, at most `count` of them.
    """
    turn = images.groupby("label").cumcount()
    ordered = images.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
    source = open_source(input_dir)
    examples: list[tuple[str, Pixels]] = []
    for path, label in zip(ordered["path"], ordered["label"], strict=True):
        if len(examples) == count:
            break
        with contextlib.suppress(OSError, DecodeError):
            examples.append((label, decode_image(source.read(path), size=100)))
    return examples
