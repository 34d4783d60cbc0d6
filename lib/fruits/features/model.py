"""MobileNetV2 as data: which weights, checked and hashed, and the prepared files that workers are sent."""

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

from fruits import folders
from fruits.errors import FruitsError
from fruits.features.weights import PARAMETERS, TENSORS, hash_file
from fruits.foreign import list_foreign, refuse_foreign

# The length of the average pooling at the end of MobileNetV2, alpha 1.0.
FEATURES = 1280
BYTES = 4 * PARAMETERS
# What an image goes through before the network and in which precision; a change makes new features.
RECIPE = "PIL RGB, 16-bit grey >> 8, bicubic 224 x/127.5-1 float32"
# In the name of converted files: another recipe must not find this one's flatbuffer.
RECIPE_MARK = hashlib.sha256(RECIPE.encode()).hexdigest()[:4]
PREPARED = ("weights.npz", "model.tflite", "model.json")
_ELSEWHERE = (
    "on your machine, `fruits run MINI --target local` with a file of weights makes what a cluster needs, and "
    "`scripts/aws_setup.sh upload-dataset` brings it."
)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A checked MobileNetV2 and where its prepared files lie."""

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


def prepare_backbone(source: str, file: Path | None, *, engine: str, seed: int, folder: Path) -> Backbone:
    """Convert the weights once, or find them converted, and check what they are.

    Parameters
    ----------
    source
        The parameter `weights`: `imagenet`, `random` or a path.
    file
        The file of these weights, as `find_weights` returns it; None for `random`.
    engine
        `litert` or `tensorflow`.
    seed
        Draws the untrained weights.
    folder
        Keeps one sub-folder of converted files for each hash.

    Raises
    ------
    FruitsError
        If the file does not load as MobileNetV2, or holds other tensors, or TensorFlow is needed and not here.
    """
    sha256 = hash_file(file) if file else None
    prepared = folder / _name_prepared(sha256, seed=seed)
    if not all((prepared / part).is_file() for part in PREPARED):
        refuse_foreign(prepared, list_foreign(prepared, names=PREPARED))
        with folders.staged_folder(prepared) as draft:
            _export(file, draft, seed=seed)
    prepared = folders.fetch_folder(prepared)
    facts = json.loads((prepared / "model.json").read_text())
    backbone = Backbone(
        weights=source,
        sha256=sha256 or facts["values_sha256"],
        engine=engine,
        tensors=facts["tensors"],
        parameters=facts["parameters"],
        bytes=facts["bytes"],
        folder=prepared,
    )
    check_size(backbone)
    return backbone


def find_model_id(file: Path | None, *, engine: str, seed: int, folder: Path) -> str | None:
    """Return the `model_id` of the backbone that `prepare_backbone` would make; None if nobody knows before it is made.

    Parameters
    ----------
    file, engine, seed, folder
        As `prepare_backbone` has them.

    Raises
    ------
    FruitsError
        If untrained weights are asked for and Keras is not here.
    """
    if file:
        return _name_features(hash_file(file), engine)
    try:
        facts = json.loads((folder / _name_prepared(None, seed=seed) / "model.json").read_bytes())
        return _name_features(facts["values_sha256"], engine)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name_features(sha256: str, engine: str) -> str:
    digest = hashlib.sha256(f"{sha256} {engine} {RECIPE}".encode()).hexdigest()
    return f"mobilenetv2-{engine}-{digest[:12]}"


def _name_prepared(sha256: str | None, *, seed: int) -> str:
    """Name the folder of converted files; untrained weights are known by what draws them."""
    name = sha256[:16] if sha256 else f"random-{seed}-keras-{_read_keras_version()}"
    return f"{name}-{RECIPE_MARK}"


def check_size(backbone: Backbone) -> None:
    """Refuse weights that are not MobileNetV2's 260 tensors.

    Raises
    ------
    FruitsError
        Naming what was got and what is right.
    """
    got = (backbone.tensors, backbone.parameters, backbone.bytes)
    if got != (TENSORS, PARAMETERS, BYTES):
        raise FruitsError(
            f"weights {backbone.weights}: {got[0]} tensors, {got[1]:,} parameters, {got[2]:,} bytes; MobileNetV2 "
            f"without its head has {TENSORS}, {PARAMETERS:,}, {BYTES:,}. Name the no_top file of alpha 1.0."
        )


def describe_backbone(backbone: Backbone) -> dict[str, str]:
    """Return what a reader is shown before the broadcast."""
    return {
        "weights": backbone.weights,
        "SHA-256": backbone.sha256,
        "tensors": f"{backbone.tensors} (right: {TENSORS})",
        "parameters": f"{backbone.parameters:,} (right: {PARAMETERS:,})",
        "size": f"{backbone.bytes / 2**20:.2f} MiB (right: {BYTES / 2**20:.2f})",
        "engine": backbone.engine,
        "model_id": backbone.model_id,
    }


def _read_keras_version() -> str:
    """Return the version that draws the untrained weights."""
    try:
        return importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError as error:
        raise FruitsError(f"weights=random are drawn by Keras, which is not here; {_ELSEWHERE}") from error


def _export(file: Path | None, folder: Path, *, seed: int) -> None:
    if importlib.util.find_spec("keras") is None:
        raise FruitsError(f"no converted copy of the weights is here, nor TensorFlow to make one; {_ELSEWHERE}")
    command = [sys.executable, "-m", "fruits.features.keras_model", str(file or ""), str(folder), str(seed)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        raise FruitsError(
            f"weights {file or 'random'}: they could not be loaded into MobileNetV2 without its head and converted: "
            f"{_find_reason(done)}"
        )


def _find_reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last exception that a failed process named; what it died of, if it named none."""
    if done.returncode < 0:
        return f"killed by signal {-done.returncode} (9: out of memory?)"
    named = re.findall(r"^[\w.]*(?:Error|Exception): .*", done.stderr, re.MULTILINE)
    return named[-1] if named else f"exit code {done.returncode}"
