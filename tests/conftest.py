"""What several test modules share: one Spark session, tiny images, the real data where it is there."""

import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from fruits.features.model import load_model
from fruits.images import open_images
from fruits.session import open_session

if TYPE_CHECKING:
    from bs4 import Tag

REPOSITORY = Path(__file__).resolve().parents[1]
Array = npt.NDArray[Any]
SHARED = REPOSITORY.parent / "shared"
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_bnfolded.h5"

# The same examples every time; `--hypothesis-profile=long` looks for others.
_TOGETHER: dict[str, Any] = {"deadline": 5000, "database": None}
hypothesis.settings.register_profile("short", max_examples=150, derandomize=True, **_TOGETHER)
hypothesis.settings.register_profile("long", max_examples=20_000, derandomize=False, **_TOGETHER)
hypothesis.settings.load_profile("short")

# A shell lets what it runs in the background ignore Ctrl-C, and the programs that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def make_weights_file(first: float = 0.0) -> bytes:
    """Make an HDF5 file that holds as many tensors and parameters as MobileNetV2, all but one zero and so a few kB."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for number in range(259):
            file[f"layer/{number}"] = [0.0 if number else first]
        file.create_dataset("layer/rest", shape=(2_257_984 - 259,), dtype="f4")
    return stream.getvalue()


def replace_in_place(file: Path, content: bytes) -> None:
    """Put another picture into a file, which keeps its length, times and inode."""
    before = file.stat()
    assert before.st_size == len(content)
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def put(root: Path, *files: str, content: bytes = b"x") -> Path:
    """Write files of this content below a folder."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    return root


def list_paths(root: Path, classes: Sequence[str] = ("*",), split: str = "Training") -> list[str]:
    """List the images of a folder by their paths."""
    return list(open_images(root).list_images(split=split, classes=classes)["path"])


def find_tag(page: "Tag", selector: str) -> "Tag":
    """Find the first tag of a page that a CSS selector names; it must be there."""
    found = page.select_one(selector)
    assert found is not None, f"no {selector}"
    return found


@pytest.fixture(scope="session")
def event_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the event log that the session of all tests keeps."""
    return tmp_path_factory.mktemp("event log, 100% é#")


@pytest.fixture(scope="session")
def spark(event_log: Path) -> Iterator[SparkSession]:
    session = open_session(master="local[2]", driver_memory="1g", name="tests", event_log=event_log)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images, weights and reference features; other people own them, so they are not in git."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real images and weights are not at {SHARED}/data")
    return SHARED / "data"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to be copied to `<output_dir>/models`, so that no run converts: untrained weights, seed 42."""
    folder = tmp_path_factory.mktemp("models")
    load_model("random", seed=42, folder=folder)
    return folder


@pytest.fixture(scope="session")
def trained_models(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """Return such a folder of the trained weights."""
    folder = tmp_path_factory.mktemp("trained")
    load_model(str(shared / WEIGHTS), folder=folder)
    return folder


@pytest.fixture
def image_bytes() -> Callable[..., bytes]:
    """Make the bytes of a small image of one colour with a little noise."""

    def make(
        colour: Sequence[int] = (200, 30, 40), *, size: int = 20, kind: str = "JPEG", seed: int = 0, **options: Any
    ) -> bytes:
        noise = np.random.default_rng(seed).integers(-9, 9, (size, size, 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind, **options)
        return stream.getvalue()

    return make


@pytest.fixture
def fruit_folder(tmp_path: Path, image_bytes: Callable[..., bytes]) -> Path:
    """Three classes of 4, 3 and 2 Training images and one Test image each."""
    root = tmp_path / "fruits-360"
    for hue, (label, count) in enumerate({"Apple Braeburn": 4, "Apple Golden 1": 3, "Kiwi": 2}.items()):
        for split, number in (("Training", count), ("Test", 1)):
            (root / split / label).mkdir(parents=True)
            for index in range(number):
                content = image_bytes((80 * hue, 200 - 60 * hue, 40), seed=index)
                (root / split / label / f"{index}_100.jpg").write_bytes(content)
    return root
