"""A place for what Jupyter and Matplotlib keep, where the user has no home."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from fruits.folders import find_home

_PLACES = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")


def replace_home() -> None:
    """Send them to a temporary folder, until this process ends; `~` stays what it is."""
    if find_home() is None:
        folder = Path(tempfile.mkdtemp(prefix="fruits-home-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ |= {place: str(folder / place.lower()) for place in _PLACES}
