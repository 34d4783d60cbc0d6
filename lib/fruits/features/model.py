"""MobileNetV2 with its weights: identified, converted once, and described."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fruits.errors import FruitsError, UsageError
from fruits.features.network import NETWORK
from fruits.features.weights import SIZES, check_sizes, find_weights
from fruits.folders import fetch_folder, find_cache, hash_file
from fruits.ownership import replaced_folder
from fruits.params import ENGINES

CONVERTED = ("weights.npz", "model.tflite", "model.json")
_ELSEWHERE = (
    "on your machine, `fruits run MINI --target local` with a file of weights makes what a cluster needs, and "
    "`scripts/aws_setup.sh upload-dataset` uploads it."
)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """Checked weights of MobileNetV2, and the folder of their converted files."""

    weights: str
    sha256: str
    engine: str
    tensors: int
    parameters: int
    bytes: int
    folder: Path

    @property
    def model_id(self) -> str:
        """Name of the features this model makes: changes with weights, preprocessing and engine."""
        return _name_features(self.sha256, self.engine)

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
        tensors, parameters, size = SIZES
        return {
            "weights": self.weights,
            "SHA-256": self.sha256,
            "tensors": f"{self.tensors} (right: {tensors})",
            "parameters": f"{self.parameters:,} (right: {parameters:,})",
            "size": f"{self.bytes / 2**20:.2f} MiB (right: {size / 2**20:.2f})",
            "engine": self.engine,
            "model_id": self.model_id,
        }


def load_model(
    source: str, *, engine: str = "litert", seed: int = 42, folder: Path | None = None, base: Path | None = Path()
) -> Backbone:
    """Find MobileNetV2's weights, check them, and convert them once for the workers.

    Parameters
    ----------
    source
        `imagenet` (downloaded by Keras unless it is there), `random` (untrained, drawn with `seed`), or the path of an
        .h5 file, which may lie in S3.
    engine
        `litert`, or `tensorflow` (slower; workers need TensorFlow).
    folder
        Where converted models are kept; by default in `~/.cache/fruits/models`.
    base
        Where a relative path starts; with None it is refused.

    Raises
    ------
    FruitsError
        If the weights are missing, are not MobileNetV2's, or cannot be downloaded or converted; says what to do.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: allowed: {', '.join(ENGINES)}.")
    file = find_weights(source, base=base)
    sha256 = hash_file(file) if file else None
    converted = (folder or find_cache() / "models") / _name_converted(sha256, seed=seed)
    if not all((converted / part).is_file() for part in CONVERTED):
        with replaced_folder(converted, names=CONVERTED) as draft:
            _convert(file, draft, seed=seed)
    converted = fetch_folder(converted)
    facts = json.loads((converted / "model.json").read_text())
    sizes = {name: facts[name] for name in ("tensors", "parameters", "bytes")}
    check_sizes(source, *sizes.values(), remedy="name the no_top file of alpha 1.0")
    return Backbone(
        weights=str(source), sha256=sha256 or facts["values_sha256"], engine=engine, folder=converted, **sizes
    )


def find_model_id(source: str, *, engine: str, seed: int, folder: Path, base: Path | None) -> str | None:
    """Return the `model_id` of what `load_model` would load; None for untrained weights that are not converted yet.

    Raises
    ------
    FruitsError
        If the weights are missing, are not MobileNetV2's, or cannot be downloaded.
    """
    if file := find_weights(source, base=base):
        return _name_features(hash_file(file), engine)
    try:
        facts = json.loads((folder / _name_converted(None, seed=seed) / "model.json").read_bytes())
        return _name_features(facts["values_sha256"], engine)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name_features(sha256: str, engine: str) -> str:
    digest = hashlib.sha256(f"{sha256} {engine} {NETWORK.recipe}".encode()).hexdigest()
    return f"{NETWORK.name}-{engine}-{digest[:12]}"


def _name_converted(sha256: str | None, *, seed: int) -> str:
    """Name a folder of converted files, which another recipe must not find; untrained weights by what draws them."""
    if sha256 is None:
        try:
            sha256 = f"random-{seed}-keras-{importlib.metadata.version('keras')}"
        except importlib.metadata.PackageNotFoundError as error:
            raise FruitsError(
                f"weights=random are drawn by Keras, which is not installed here; {_ELSEWHERE}"
            ) from error
    else:
        sha256 = sha256[:16]
    return f"{sha256}-{hashlib.sha256(NETWORK.recipe.encode()).hexdigest()[:4]}"


def _convert(file: Path | None, folder: Path, *, seed: int) -> None:
    if importlib.util.find_spec("keras") is None:
        raise FruitsError(f"there is no converted copy of the weights, and no TensorFlow to make one; {_ELSEWHERE}")
    command = [sys.executable, "-m", "fruits.features.keras_model", str(file or ""), str(folder), str(seed)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        named = re.findall(r"^[\w.]*(?:Error|Exception): .*", done.stderr, re.MULTILINE)
        reason = named[-1] if named else f"exit code {done.returncode}"
        if done.returncode < 0:
            reason = f"killed by signal {-done.returncode} (9: out of memory?)"
        raise FruitsError(
            f"weights {file or 'random'}: they could not be loaded into MobileNetV2 without its head and converted: "
            f"{reason}"
        )
