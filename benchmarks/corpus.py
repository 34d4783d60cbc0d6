"""Folders of a given number of images, made of the images at hand, repeated under new names."""

import shutil
from itertools import cycle, islice
from pathlib import Path

from fruits.images import open_images


def make_corpus(source: Path, target: Path, *, images: int, classes: str = "Apple*") -> Path:
    """Copy images into `target`, again and again under new names until there are enough.

    Returns
    -------
    Path
        `target`, which holds `Training/<class>/`; left alone if it has that many images already.
    """
    marker = target / f".{images}"
    if marker.exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    paths = open_images(source).list_images(split="Training", classes=[classes])["path"]
    for number, path in enumerate(islice(cycle(paths), images)):
        original = source / path
        place = target / "Training" / original.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, place / f"{number // len(paths):02d}_{original.name}")
    marker.touch()
    return target
