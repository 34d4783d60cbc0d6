"""A network with its weights: identified, converted once, and described."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fruits.errors import FruitsError, UsageError
from fruits.features.weights import check_counts, find_weights
from fruits.folders import fetch_folder, find_cache, hash_file
from fruits.networks import DEFAULT, Network, find_network
from fruits.ownership import replaced_folder
from fruits.params import ENGINES

CONVERTED = ("weights.npz", "model.tflite", "model.json")
_ELSEWHERE = (
    "on your machine, `fruits run MINI --target local` with a file of weights makes what a cluster needs, and "
    "`scripts/aws_setup.sh upload-dataset` uploads it."
)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """Checked weights of a network at an input size, and the folder of their converted files."""

    weights: str
    sha256: str
    engine: str
    tensors: int
    parameters: int
    bytes: int
    folder: Path
    network: Network = DEFAULT
    flatbuffer_sha256: str = ""

    @property
    def model_id(self) -> str:
        """Name of the features this model makes: changes with weights, preprocessing and engine."""
        return _name_features(self.sha256, self.engine, self.network)

    @property
    def input_size(self) -> int:
        """The side in pixels of the squares that images are resized to."""
        return self.network.size

    @property
    def features(self) -> int:
        """How many features it makes of an image."""
        return self.network.features

    @property
    def flatbuffer(self) -> Path:
        """The LiteRT model: uint8 pixels to features."""
        return self.folder / "model.tflite"

    @property
    def tensors_file(self) -> Path:
        """The tensors, in Keras's order, as an .npz file."""
        return self.folder / "weights.npz"

    def describe(self) -> dict[str, str]:
        """Return what a reader is shown before the broadcast."""
        tensors, parameters, size = self.network.counts
        return {
            "network": f"{self.network.application} of Keras, without its classification layer",
            "input": f"{self.input_size} x {self.input_size} pixels",
            "features": f"{self.features:,} of each image",
            "weights": self.weights,
            "SHA-256": self.sha256,
            "tensors": f"{self.tensors} (right: {tensors})",
            "parameters": f"{self.parameters:,} (right: {parameters:,})",
            "size": f"{self.bytes / 2**20:.2f} MiB (right: {size / 2**20:.2f})",
            "engine": self.engine,
            "model_id": self.model_id,
        }


def load_model(
    source: str,
    *,
    backbone: str = "mobilenet_v2",
    input_size: int = 0,
    engine: str = "litert",
    seed: int = 42,
    folder: Path | None = None,
    base: Path | None = Path(),
) -> Backbone:
    """Find the weights of a network, check them, and convert them once for the workers.

    Parameters
    ----------
    source
        `imagenet` (downloaded by Keras unless it is there), `random` (untrained, drawn with `seed`), or the path of an
        .h5 file, which may lie in S3 and, if it is relative, starts at `base`.
    backbone, input_size
        A key of `fruits.networks.NETWORKS`; pixels of the squares that images are resized to, 0 for its own.
    engine, folder
        `litert`, or `tensorflow` (slower; workers need TensorFlow); of converted models, `~/.cache/fruits/models`.

    Raises
    ------
    FruitsError
        If the weights are missing, are not the network's, or cannot be downloaded or converted; says what to do.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: allowed: {', '.join(ENGINES)}.")
    network = find_network(backbone, input_size)
    file = find_weights(source, base=base, network=network)
    sha256 = hash_file(file) if file else None
    name = _name_converted(sha256, network, seed=seed)
    converted = (folder or find_cache() / "models") / name
    if not all((converted / part).is_file() for part in CONVERTED):
        with replaced_folder(converted, names=CONVERTED) as draft:
            _convert(file, draft, backbone=backbone, network=network, seed=seed)
    return _read_model(fetch_folder(converted), network, weights=str(source), sha256=sha256, engine=engine)


def _read_model(folder: Path, network: Network, *, weights: str, sha256: str | None, engine: str) -> Backbone:
    facts = json.loads((folder / "model.json").read_text())
    counts = {name: facts[name] for name in ("tensors", "parameters", "bytes")}
    check_counts(weights, (*counts.values(),), network, remedy=f"name {network.weights_file}")
    sha256 = sha256 or facts["values_sha256"]
    # Models that earlier versions made have no hash of the flatbuffer.
    known = {"network": network, "flatbuffer_sha256": facts.get("flatbuffer_sha256", ""), **counts}
    return Backbone(weights=weights, sha256=sha256, engine=engine, folder=folder, **known)


def read_flatbuffer(model: Backbone) -> bytes:
    """Read the LiteRT model; FruitsError if it is not the one that was made, as far as `model.json` knows that."""
    content = model.flatbuffer.read_bytes()
    got = hashlib.sha256(content).hexdigest()
    if got != (model.flatbuffer_sha256 or got):
        raise FruitsError(
            f"{model.flatbuffer} is not the file that was made of the weights: its SHA-256 begins with {got[:12]}, "
            f"model.json beside it allows {model.flatbuffer_sha256[:12]}. Delete {model.folder}, in the bucket too "
            f"if it came from one, and run again; {_ELSEWHERE}"
        )
    return content


def find_model_id(
    source: str,
    *,
    backbone: str = "mobilenet_v2",
    input_size: int = 0,
    engine: str,
    seed: int,
    folder: Path,
    base: Path | None,
) -> str | None:
    """Return the `model_id` of what `load_model` would load; None for untrained weights that are not converted yet."""
    network = find_network(backbone, input_size)
    if file := find_weights(source, base=base, network=network):
        return _name_features(hash_file(file), engine, network)
    try:
        name = _name_converted(None, network, seed=seed)
        facts = json.loads((folder / name / "model.json").read_bytes())
        return _name_features(facts["values_sha256"], engine, network)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name_features(sha256: str, engine: str, network: Network) -> str:
    digest = hashlib.sha256(f"{sha256} {engine} {network.preparation}".encode()).hexdigest()
    return f"{network.application.lower()}-{engine}-{digest[:12]}"


def _name_converted(sha256: str | None, network: Network, *, seed: int) -> str:
    """Name a folder of converted files, which another recipe must not find; untrained weights by how they are drawn."""
    drawn = sha256[:16] if sha256 else f"random-he-{seed}"
    return f"{drawn}-{hashlib.sha256(network.preparation.encode()).hexdigest()[:4]}"


def _convert(file: Path | None, folder: Path, *, backbone: str, network: Network, seed: int) -> None:
    if importlib.util.find_spec("keras") is None:
        raise FruitsError(f"there is no converted copy of the weights, and no TensorFlow to make one; {_ELSEWHERE}")
    arguments = (str(file or ""), str(folder), backbone, str(network.size), str(seed))
    command = [sys.executable, "-m", "fruits.features.keras_model", *arguments]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        named = re.findall(r"^[\w.]*(?:Error|Exception): .*", done.stderr, re.MULTILINE)
        reason = named[-1] if named else f"exit code {done.returncode}"
        if done.returncode < 0:
            reason = f"killed by signal {-done.returncode} (9: out of memory?)"
        raise FruitsError(
            f"weights {file or 'random'}: they could not be loaded into {network.application} without its "
            f"head and converted: {reason}"
        )
