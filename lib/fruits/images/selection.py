"""The same few images every time, spread evenly over the classes."""

import hashlib

import pandas as pd


def select_images(images: pd.DataFrame, *, max_images: int, seed: int) -> pd.DataFrame:
    """Choose images: class after class in turn, until there are enough.

    Each class gives its images in the order of a hash of seed and path, so the choice depends neither on the
    order of the listing nor on other classes' files; a class that runs out leaves its turns to the others.

    Parameters
    ----------
    images
        Table with `path` (unique) and `label`, as `list_images` returns it.
    max_images
        How many to keep; 0 keeps all.
    seed
        Another seed gives another choice.

    Returns
    -------
    DataFrame
        The chosen rows, same columns, sorted by path.
    """
    if max_images == 0 or max_images >= len(images):
        return images.sort_values("path", ignore_index=True)
    images = images.reset_index(drop=True)
    rank = images["path"].map(lambda path: _hash(seed, path))
    turn = rank.groupby(images["label"]).rank(method="first")
    class_order = images["label"].map({label: _hash(seed, label) for label in images["label"].unique()})
    order = pd.DataFrame({"turn": turn, "class": class_order}).sort_values(["turn", "class"]).index
    return images.loc[order[:max_images]].sort_values("path", ignore_index=True)


def _hash(seed: int, text: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return int.from_bytes(digest, "big")
