"""The trained weights: found, downloaded, and checked before anything starts."""

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
from fruits.networks import DEFAULT, Network

_PATIENCE = 8


def find_weights(source: str, *, base: Path | None, network: Network = DEFAULT, url: str = "") -> Path | None:
    """Return the checked file of the weights, downloaded or copied from S3 if need be; None for `random`.

    `url` is where to download from in place of the network's own address.
    """
    if source == "random":
        return None
    if source == "imagenet":
        cached = _locate_cached(network)
        if not cached.is_file():
            return _download(_check_download(network, url=url), network)
        _check_tensors(cached, network, remedy="delete it, and it is downloaded again")
        return cached
    named = folders.resolve(str(source), base=base and base.absolute())
    if not (file := folders.fetch_file(named)).is_file():
        raise UsageError(
            f"weights: there is no file {named}", cure="allowed: imagenet, random, or the path of an .h5 file"
        )
    _check_tensors(file, network, remedy=f"name {network.weights_file}")
    return file


def keras_cache() -> Path:
    """Return the folder that Keras keeps downloaded models in (`KERAS_HOME`, else `~/.keras`)."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where none is known, this leaves `~`
    if not home.is_absolute():
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("KERAS_HOME", home / ".keras")) / "models"


def describe_weights(source: str, *, base: Path | None, network: Network) -> str:
    """Return where a run takes the weights from, checked as `find_weights` does, but without a download."""
    if source == "imagenet" and not _locate_cached(network).is_file():
        return f"the first run downloads them from {_check_download(network)}"
    return str(find_weights(source, base=base, network=network) or "random: none are needed")


def _locate_cached(network: Network) -> Path:
    return keras_cache() / network.weights_file


def _check_tensors(file: Path, network: Network, *, remedy: str) -> None:
    """Count the tensors of an .h5 file, without TensorFlow and within a second."""
    import h5py

    sizes: list[int] = []
    try:
        with h5py.File(file) as content:
            content.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"weights: {file} cannot be read, it may be incomplete ({error})", cure=remedy) from error
    check_counts(file, (len(sizes), sum(sizes)), network, remedy=remedy)


def check_counts(weights: str | Path, got: tuple[int, ...], network: Network, *, remedy: str) -> None:
    """Refuse weights of another network by their tensors, parameters and, if they are known, bytes."""
    right = network.counts[: len(got)]
    if got != right:
        raise UsageError(
            f"weights: {weights} holds {_name_counts(got)}; {network.application} without its head has "
            f"{_name_counts(right)}",
            cure=remedy,
        )


def _name_counts(counts: tuple[int, ...]) -> str:
    named = zip(counts, ("tensors", "parameters", "bytes"), strict=False)
    return ", ".join(f"{count:,} {what}" for count, what in named)


def _check_download(network: Network, *, url: str = "") -> str:
    """Return the address of the weights; refuse a machine that cannot download them."""
    name = network.weights_file
    origin = (url or network.url) + name
    if importlib.util.find_spec("keras") is None:
        raise UsageError(
            "weights=imagenet are downloaded by Keras, which is not installed here, as on the nodes of a cluster; "
            "name a copy in the bucket, as `scripts/aws_setup.sh upload-dataset` writes it into the notebook."
        )
    # Ask first: Keras takes ten seconds to import, and has no time limit.
    if refusal := _ask(origin):
        raise FruitsError(
            f"the ImageNet weights cannot be downloaded from {origin} ({refusal})", cure=_list_ways_out(name)
        )
    return origin


def _list_ways_out(name: str) -> str:
    return (
        f"download {name} on a machine with internet into {keras_cache()}, or set weights to the path of an "
        ".h5 file, or set weights=random to try the pipeline untrained"
    )


def _download(origin: str, network: Network) -> Path:
    name = network.weights_file
    ways_out = _list_ways_out(name)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import keras

        file = Path(keras.utils.get_file(name, origin, cache_subdir="models"))
    except Exception as error:
        raise FruitsError(f"the download of {origin} broke off ({error})", cure=f"run again, or {ways_out}") from error
    try:
        _check_tensors(file, network, remedy=ways_out)
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
