"""Files and folders that a person who is not root may not read: error rows, and a refusal that names the folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LOCKED = """
import json, sys
from pathlib import Path
import pyarrow as pa
from fruits.errors import UsageError
from fruits.features.udf import Extractor
from fruits.images import open_images
from fruits.images.tree import ClassFolders

class Rows(list):
    add = list.extend

folder, errors = Path(sys.argv[1]), Rows()
images = open_images(folder).list_images(split="Training", classes=["*"])
extractor = Extractor(model_id="", make_predict=None, source=ClassFolders(folder), batch_size=9, errors=errors)
found = [batch.num_rows for batch in extractor.extract(pa.Table.from_pandas(images).to_batches())]
try:
    open_images(folder).list_images(split="Test", classes=["*"])
except UsageError as error:
    refused = str(error)
print(json.dumps([images["length"].tolist(), found, errors, refused]))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for place in folder.rglob("*"):
        if place.is_dir():
            place.chmod(0o700)
    shutil.rmtree(folder)


def unprivileged() -> list[str]:
    """Return what makes a command one of nobody's: root reads everything."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("the tests run as root, and there is no setpriv to become nobody")
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable]
    if subprocess.run([*command, "-c", "import fruits"], capture_output=True, check=False).returncode:
        pytest.skip("the tests run as root, and nobody may not read this environment")
    return command[:-1]


def test_what_may_not_be_read_is_an_error_row_and_what_may_not_be_listed_is_refused(
    open_folder: Path, image_bytes: Callable[..., bytes]
) -> None:
    for path in ("Training/Kiwi/secret.jpg", "Training/Plum/1.jpg", "Test/Kiwi/1.jpg"):
        (open_folder / path).parent.mkdir(parents=True)
        (open_folder / path).write_bytes(image_bytes())
    (open_folder / "Training/Kiwi/secret.jpg").chmod(0)
    (open_folder / "Training/Plum").chmod(0o444)  # Its names may be read, its files not even looked at.
    (open_folder / "Test/Kiwi").chmod(0)
    command = [*unprivileged(), sys.executable, "-c", LOCKED, str(open_folder)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=open_folder)

    lengths, found, errors, refused = json.loads(done.stdout)
    assert lengths == [len(image_bytes()), 0]
    assert sum(found) == 0
    reason = ["read", "Permission denied"]
    assert errors == [["Training/Kiwi/secret.jpg", *reason], ["Training/Plum/1.jpg", *reason]]
    assert refused == (
        f"{open_folder}/Test/Kiwi cannot be listed (Permission denied); make it readable, or move it elsewhere."
    )
