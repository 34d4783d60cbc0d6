"""How places lie towards one another, whatever names, links and mounts lead to them."""

import os
import posixpath
from collections.abc import Hashable
from pathlib import Path, PurePosixPath

from fruits import folders


def relate(left: Path, right: Path) -> str | None:
    """Say how the first place lies towards the second: `is`, `lies inside` or `holds`; None if they are apart.

    Links are resolved, and folders that exist are compared by device and inode: a disk may be mounted twice, or may
    not tell upper from lower case. Places in S3 are compared by their text.
    """
    if folders.is_remote(left) != folders.is_remote(right):
        return None
    here, there = _identify_all(left), _identify_all(right)
    if here[0] == there[0]:
        return "is"
    if there[0] in here:
        return "lies inside"
    return "holds" if here[0] in there else None


def _identify_all(place: Path) -> list[Hashable]:
    """Return what tells a place, and each folder that it lies in, from all others."""
    if folders.is_remote(place):
        name = PurePosixPath(posixpath.normpath(str(place).partition("://")[2]))
        return [name, *name.parents[:-1]]
    real = Path(os.path.realpath(place))
    return [_identify(folder) for folder in (real, *real.parents)]


def _identify(place: Path) -> Hashable:
    try:
        status = place.stat()
    except OSError:  # not there yet
        return (_identify(place.parent), place.name) if place != place.parent else place.name
    return status.st_dev, status.st_ino
