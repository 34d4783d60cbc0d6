"""Groups of images, such as the films of Fruits-360, by file names; folds that keep neighbouring frames together."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# The group of names that match, but not with the part that names a group.
UNNAMED = "0"
FOLDS = 4


def add_groups(images: "pd.DataFrame", pattern: str) -> "pd.DataFrame":
    """Add the columns `group` (str) and `frame` (int64), both read from the file's name, to images.

    Parameters
    ----------
    pattern
        A regular expression that is matched at the beginning of the file's name. Its first group names the group of
        the image, `"0"` where that part is absent. The last number in what it matches is the frame. Where it does not
        match, or is empty, the group is `""` and the frame -1.
    """
    names = images["path"].str.rpartition("/")[2] if len(images) else []
    found = [re.match(pattern, name) if pattern else None for name in names]
    groups = [(match[1] or UNNAMED) if match else "" for match in found]
    numbers = [re.findall(r"\d+", match[0]) if match else [] for match in found]
    # A date and time with its digits behind the comma would not fit 64 bits.
    frames = [int(number[-1][-18:]) if number else -1 for number in numbers]
    return images.assign(group=groups, frame=frames).astype({"group": object, "frame": "int64"})


def find_pair(images: "pd.DataFrame") -> tuple[str, str] | None:
    """Return the two largest groups, the larger first; None if there are not two."""
    counts = images.loc[images["group"] != "", "group"].value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return (str(ordered[0][0]), str(ordered[1][0])) if len(ordered) > 1 else None


def cut_folds(images: "pd.DataFrame") -> "pd.Series[int]":
    """Divide training images into at most 4 folds, of groups; of one group, of contiguous frames in each class.

    So an image is never validated on its neighbour in the same film.
    """
    names = sorted(set(images["group"]))
    if len(names) > 1:
        return images["group"].map({name: number % FOLDS for number, name in enumerate(names)})
    ordered = images.sort_values(["label", "frame", "path"])
    place = ordered.groupby("label").cumcount()
    size = ordered.groupby("label")["path"].transform("size")
    return (place * FOLDS // size).reindex(images.index)
