"""Which files and folders of a tree are no images, and why: by their names, kinds and first bytes."""

import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping

from fruits.images.formats import name_decoded, name_other

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
Why = tuple[str, str]  # kind, reason

# Whole names alone, in any case: `@home` is a class. Of Synology, QNAP, NetApp, Windows, macOS and their file servers.
_SYSTEM = {
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@sharesnap", "@syncdir", "@download"),
    *("@__thumb", "@synoresource", "@synologydrive", "@appstore", "@cloudstation", "lost.dir", "dfsrprivate"),
    *("#recycle", "#snapshot", "~snapshot", "lost+found", "__macosx", "$recycle.bin", "recycler", "recycled"),
    *("system volume information", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("thefindbycontentfolder", "windows.~bt"),
    *("desktop db", "desktop df", "icon\r", "icon\uf00d", "desktop.ini", "autorun.inf"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),
}
# Open Office documents, folders of lost clusters, snapshots of file servers.
_SYSTEM_FORM = re.compile(r"~\$|(?i:found\.\d{3})\Z|@GMT-\d{4}\.")
_SYSTEM_REASON = "made by an operating system, a file server or an Office program for itself"
_SPECIAL = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def judge_name(name: str) -> Why | None:
    """Return why a file or folder of this name is left out, with all that it holds; None if it is not."""
    if name.startswith("."):
        return "hidden", "hidden: the name begins with a dot"
    if name.casefold() in _SYSTEM or _SYSTEM_FORM.match(name):
        return "system", _SYSTEM_REASON
    return None


def judge_file(name: str, *, in_class: bool, read_head: Callable[[], bytes]) -> Why | None:
    """Return why a file is not listed as an image; None if it is.

    Parameters
    ----------
    read_head
        Gives its first bytes, or raises OSError; asked for names without a suffix only.
    """
    if not has_suffix(name):
        reason = _judge_head(read_head)
        if reason:
            return "no suffix", f"no suffix, and {reason}"
    elif not name.lower().endswith(IMAGE_SUFFIXES):
        return _name_suffix(name), f"not a suffix of images: {', '.join(IMAGE_SUFFIXES)}"
    return None if in_class else ("no class", "beside the class folders, not in one")


def judge_mode(mode: int) -> Why | None:
    """Return why something of this `st_mode` is no file."""
    kind = _SPECIAL.get(stat.S_IFMT(mode))
    return (kind, f"a {kind}, not a file") if kind else None


def has_suffix(name: str) -> bool:
    """Tell whether a name has a suffix, so that its first bytes need not tell what it is."""
    return "." in name


def count_kinds(ignored: Mapping[str, Why]) -> str:
    """Say how many files there are, and how many of each kind: "13 files, none is taken: 12 .gif, 1 hidden"."""
    counts = Counter(kind for kind, _ in sorted(ignored.values())).most_common()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts)
    return f"{len(ignored)} file{'s' * (len(ignored) > 1)}, none is taken: {kinds}"


def _judge_head(read_head: Callable[[], bytes]) -> str:
    try:
        head = read_head()
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    if name_decoded(head):
        return ""
    return name_other(head) or ("its first bytes are not those of an image" if head else "it is empty")


def _name_suffix(name: str) -> str:
    suffix = "." + name.rpartition(".")[2].lower()
    return suffix if len(suffix) <= 20 and suffix.isprintable() and " " not in suffix else "other suffix"
