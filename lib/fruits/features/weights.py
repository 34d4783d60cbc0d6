"""The trained weights: where they come from, found and checked before anything starts."""

import hashlib
import http.client
import importlib.util
import os
import queue
import tempfile
import threading
import urllib.request
from pathlib import Path

from fruits import folders
from fruits.errors import FruitsError, UsageError

# keras.applications.mobilenet_v2 (Keras 3): BASE_WEIGHT_PATH and the file of alpha 1.0, 224 px, no top.
# Written here because importing Keras takes longer than refusing a run may.
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
# MobileNetV2, alpha 1.0, without the classifier: Sandler et al. 2018 (arXiv:1801.04381) as Keras lays it out.
TENSORS = 260
PARAMETERS = 2_257_984
_PATIENCE = 8


def find_weights(source: str, *, base: Path | None, url: str = KERAS_URL) -> Path | None:
    """Return the file of the weights; download Keras's ImageNet file if it is asked for and not cached.

    Parameters
    ----------
    source
        `imagenet`, `random`, or the path of an .h5 file; one in S3 is copied here.
    base
        Where a relative path starts, if anywhere.
    url
        Folder that `imagenet` is downloaded from.

    Returns
    -------
    Path or None
        None for `random`: untrained weights have no file.

    Raises
    ------
    UsageError
        If the file is missing or does not hold MobileNetV2's tensors.
    FruitsError
        If the download fails; the sentence names the ways out.
    """
    if source == "random":
        return None
    if source == "imagenet":
        cached = keras_cache() / KERAS_FILE
        if not cached.is_file():
            return _download(url)
        check_tensors(cached, remedy="delete it, and it is downloaded again")
        return cached
    named = folders.resolve(source, base=base)
    if not (file := folders.fetch_file(named)).is_file():
        raise UsageError(f"weights: there is no file {named}; allowed: imagenet, random, or the path of an .h5 file.")
    check_tensors(file, remedy="name the no_top file of alpha 1.0")
    return file


def check_tensors(file: Path, *, remedy: str) -> None:
    """Refuse a file that does not hold MobileNetV2's tensors, without TensorFlow and within a second.

    Raises
    ------
    UsageError
        Naming what the file holds and what it should.
    """
    import h5py

    sizes: list[int] = []
    try:
        with h5py.File(file) as content:
            content.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"weights: {file} cannot be read, it may be a part of a file ({error}); {remedy}.") from error
    if (len(sizes), sum(sizes)) != (TENSORS, PARAMETERS):
        raise UsageError(
            f"weights: {file} holds {len(sizes)} tensors, {sum(sizes):,} parameters; MobileNetV2 without its head has "
            f"{TENSORS}, {PARAMETERS:,}; {remedy}."
        )


def keras_cache() -> Path:
    """Return the folder that Keras keeps downloaded models in (`KERAS_HOME`, else `~/.keras`)."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where none is known, this leaves `~`
    if not home.is_absolute():
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("KERAS_HOME", home / ".keras")) / "models"


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(url: str) -> Path:
    origin = url + KERAS_FILE
    if importlib.util.find_spec("keras") is None:
        raise UsageError(
            "weights=imagenet are downloaded by Keras, which is not here, as on the nodes of a cluster; name a "
            "copy in the bucket, as `scripts/aws_setup.sh upload-dataset` writes it into the notebook."
        )
    ways_out = (
        f"download {KERAS_FILE} on a machine with internet into {keras_cache()}, or set weights to the path of an "
        ".h5 file, or set weights=random to try the pipeline untrained."
    )
    # Ask first: Keras takes ten seconds to import and waits for ever on a network that swallows packets.
    if refusal := _ask(origin):
        raise FruitsError(f"the ImageNet weights cannot be downloaded from {origin} ({refusal}); {ways_out}")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import keras

        file = Path(keras.utils.get_file(KERAS_FILE, origin, cache_subdir="models"))
    except Exception as error:
        raise FruitsError(f"the download of {origin} broke off ({error}); run again, or {ways_out}") from error
    try:
        check_tensors(file, remedy=ways_out)
    except UsageError as error:
        file.unlink()
        raise FruitsError(f"{origin} answered with something else (a log-in page?): {error}") from error
    return file


def _ask(origin: str) -> str | None:
    """Return why a URL cannot be had, None if it can; within `_PATIENCE` seconds, however many addresses it has."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(origin, method="HEAD"), timeout=5):  # noqa: S310 - ours
                answers.put(None)
        except (OSError, http.client.HTTPException) as error:
            said = str(getattr(error, "reason", "") or error) or type(error).__name__
            answers.put(" ".join(said.split()))

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_PATIENCE)
    except queue.Empty:
        return f"no answer in {_PATIENCE} s"
