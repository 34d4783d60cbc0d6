"""A network in Keras: built, checked, converted. Runs in a process of its own.

`python -m fruits.features.keras_model WEIGHTS FOLDER BACKBONE SIZE SEED` keeps TensorFlow's ten seconds, gigabyte and
chatter out of the notebook. The network's `preprocess_input` is the first layer, so that 8-bit pixels go in: on one
core that takes 0.3 ms an image instead of 1.0 outside.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fruits.networks import Network, find_network

if TYPE_CHECKING:
    from keras import Model


def build_model(network: Network, weights: Path | None, *, seed: int = 0) -> "Model":
    """Build a network without its head, average-pooled: (n, size, size, 3) float32, prepared, to (n, d) float32.

    Without a file of weights they are untrained, drawn with `seed`.
    """
    import keras

    application, shape = getattr(keras.applications, network.application), (network.size, network.size, 3)
    model: Model = application(weights=None, include_top=False, pooling="avg", input_shape=shape)
    if weights is None:
        draw_kernels(model, seed=seed)
    else:
        model.load_weights(weights)
    return model


def draw_kernels(model: "Model", *, seed: int) -> None:
    """Draw kernels of normal values that keep the variance of activations through the depth (He et al. 2015).

    Keras draws smaller ones: features of a deep network are then about 1e-12, and nearly all of their variance lies in
    one direction.
    """
    from keras import layers

    random = np.random.default_rng(seed)
    makers = {id(layer.output): layer for layer in model.layers}
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        before = makers[id(layer.input)]
        while isinstance(before, layers.ZeroPadding2D):
            before = makers[id(before.input)]
        linear = isinstance(before, layers.Add | layers.BatchNormalization | layers.InputLayer | layers.Normalization)
        shape = layer.kernel.shape
        inputs = np.prod(shape[:2] if isinstance(layer, layers.DepthwiseConv2D) else shape[:3])
        # An activation before the layer has taken half of the variance.
        layer.kernel.assign(random.normal(0, np.sqrt((1 if linear else 2) / inputs), shape))


def freeze_model(model: "Model", network: Network) -> Any:
    """Put the network's preparation of pixels before the model: a function of (n, size, size, 3) uint8, with constants.

    The optimiser of TensorFlow folds batch normalisation into constants, which makes the engine 2-3 times as fast; the
    converter takes 4 s for constants, 11 for a model of Keras, and its flatbuffer gives the same features to the bit.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pixels = keras.Input(model.input_shape[1:], dtype="uint8")
    ordered = pixels
    if network.channels != (0, 1, 2):  # a layer that changes nothing would cost time
        ordered = keras.ops.take(pixels, network.channels, axis=-1)
    parts = (network.scale, network.offset)
    scale, offset = (np.array(part, np.float32) if isinstance(part, tuple) else part for part in parts)
    scaled = keras.Model(pixels, model(keras.layers.Rescaling(scale, offset=offset)(ordered)))
    images = tf.TensorSpec((None, *scaled.input_shape[1:]), tf.uint8)
    traced = tf.function(lambda batch: scaled(batch, training=False)).get_concrete_function(images)
    return convert_variables_to_constants_v2(traced)


def convert_to_flatbuffer(frozen: Any) -> bytes:
    """Convert a frozen model to a float32 LiteRT flatbuffer."""
    import tensorflow as tf

    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


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


def export_model(weights: Path | None, folder: Path, *, network: Network, seed: int) -> None:
    """Write `weights.npz`, `model.tflite` and, last, `model.json` into a folder."""
    model = build_model(network, weights, seed=seed)
    tensors = model.get_weights()
    np.savez(folder / "weights.npz", *tensors)
    flatbuffer = convert_to_flatbuffer(freeze_model(model, network))
    (folder / "model.tflite").write_bytes(flatbuffer)
    facts = describe_tensors(tensors) | {"flatbuffer_sha256": hashlib.sha256(flatbuffer).hexdigest()}
    (folder / "model.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    source, target, backbone, pixels, number = sys.argv[1:]
    place = Path(source) if source else None
    export_model(place, Path(target), network=find_network(backbone, int(pixels)), seed=int(number))
