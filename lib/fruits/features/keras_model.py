"""MobileNetV2 in Keras: built, checked, converted. Runs in a process of its own.

`python -m fruits.features.keras_model WEIGHTS FOLDER SEED` keeps TensorFlow's ten seconds, gigabyte and chatter
out of the notebook. The scaling x / 127.5 - 1 (`keras.applications.mobilenet_v2.preprocess_input`) is the first
layer, so that 8-bit pixels go in: on one core that takes 0.3 ms an image instead of 1.0 outside.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fruits.features.network import NETWORK
from fruits.images.decode import IMAGE_SIZE

if TYPE_CHECKING:
    from keras import Model


def build_model(weights: Path | None, *, seed: int = 0) -> "Model":
    """Build MobileNetV2 without its head, average-pooled.

    Parameters
    ----------
    weights
        Keras .h5 file; None gives Keras's own initialisation, drawn with `seed`.

    Returns
    -------
    keras.Model
        (n, 224, 224, 3) float32 in [-1, 1] to (n, 1280) float32.
    """
    import keras

    keras.utils.set_random_seed(seed)
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    application = getattr(keras.applications, NETWORK.application)
    model: Model = application(weights=None, include_top=False, pooling="avg", input_shape=shape)
    if weights is not None:
        model.load_weights(weights)
    return model


def add_scaling(model: "Model") -> "Model":
    """Put x / 127.5 - 1 before the model: (n, 224, 224, 3) uint8 in."""
    import keras

    pixels = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8")
    return keras.Model(pixels, model(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)))


def convert_to_flatbuffer(model: "Model") -> bytes:
    """Convert a model of pixels to a float32 LiteRT flatbuffer."""
    import tensorflow as tf

    return bytes(tf.lite.TFLiteConverter.from_keras_model(add_scaling(model)).convert())


def describe_tensors(tensors: list[npt.NDArray[Any]]) -> dict[str, Any]:
    """Count tensors, parameters and bytes, and hash the values in their order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return {
        "tensors": len(tensors),
        "parameters": sum(tensor.size for tensor in tensors),
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "values_sha256": digest.hexdigest(),
    }


def export_model(weights: Path | None, folder: Path, *, seed: int) -> None:
    """Write `weights.npz`, `model.tflite` and, last, `model.json` into a folder."""
    model = build_model(weights, seed=seed)
    tensors = model.get_weights()
    np.savez(folder / "weights.npz", *tensors)
    (folder / "model.tflite").write_bytes(convert_to_flatbuffer(model))
    (folder / "model.json").write_text(json.dumps(describe_tensors(tensors)))


if __name__ == "__main__":
    export_model(Path(sys.argv[1]) if sys.argv[1] else None, Path(sys.argv[2]), seed=int(sys.argv[3]))
