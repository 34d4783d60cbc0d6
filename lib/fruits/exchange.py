"""One folder in the place of another, at one stroke."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

# Each turn after the first means that another process has put its folder in place meanwhile.
_TURNS = 1000


def put_in_place(draft: Path, final: Path, old: Path) -> None:
    """Give `draft` the name of `final`, whatever other processes do to that name at the same time.

    Raises
    ------
    OSError
        If the system refuses it, or it has not come about in `_TURNS` turns.
    """
    for turn in range(1, _TURNS + 1):
        try:
            if not os.path.lexists(final):
                draft.rename(final)
            elif not exchange(draft, final):
                shutil.rmtree(old, ignore_errors=True)
                final.rename(old)
                draft.rename(final)
        except OSError as error:
            another_run = error.errno in {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
            if not another_run or not draft.exists() or turn == _TURNS:
                raise
        else:
            return


def exchange(left: Path, right: Path) -> bool:
    """Exchange two names at one stroke, so that a kill leaves no moment without results; False if that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(left), os.fsencode(right)
    here, flag = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of Linux, which is RENAME_SWAP of macOS
    if hasattr(libc, "renameat2"):
        return bool(libc.renameat2(here, names[0], here, names[1], flag) == 0)
    return hasattr(libc, "renamex_np") and bool(libc.renamex_np(*names, flag) == 0)
