"""The engines that compute features: the only module that knows a framework's run time. Runs on the workers.

An engine is a function that *makes* the predict function: it is sent to the workers and called there once a process.
Each uses one thread, because Spark already runs a task on every core.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fruits.images.decode import Pixels
from fruits.networks import DEFAULT, Network

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext

    from fruits.features.model import Backbone

Features = npt.NDArray[np.float32]
Predict = Callable[[Pixels], Features]
# Engines differ by less in each feature of trained weights, in float32; measured: 3e-5. The tests hold it.
TOLERANCE = 2e-4


@dataclass(frozen=True)
class LiteRTEngine:
    """Makes a predict function from a broadcast flatbuffer; needs `ai-edge-litert` alone."""

    flatbuffer: "Broadcast[bytes]"

    def __call__(self) -> Predict:
        """Build the interpreter; predict maps (n, size, size, 3) uint8 to (n, d) float32."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self.flatbuffer.value, num_threads=1)
        interpreter.allocate_tensors()
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        length = interpreter.get_output_details()[0]["shape"][-1]

        # One image a call: XNNPACK gains nothing from batches (95 images/s a core at 1, 92 at 8, 86 at 16).
        def predict(pixels: Pixels) -> Features:
            features = np.empty((len(pixels), length), np.float32)
            for row, image in enumerate(pixels):
                interpreter.tensor(source)()[0] = image
                interpreter.invoke()
                features[row] = interpreter.tensor(result)()[0]
            return features

        return predict


@dataclass(frozen=True)
class TensorFlowEngine:
    """Makes a predict function from the broadcast tensors, as a frozen graph."""

    tensors: "Broadcast[list[npt.NDArray[Any]]]"
    network: Network = DEFAULT

    def __call__(self) -> Predict:
        """Freeze the graph; predict maps (n, size, size, 3) uint8 to (n, d) float32."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import tensorflow as tf

        from fruits.features.keras_model import build_model, freeze_model

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        model = build_model(self.network, None)
        model.set_weights(self.tensors.value)
        frozen = freeze_model(model, self.network)
        return lambda batch: np.asarray(frozen(tf.constant(batch))[0])


def broadcast_engine(context: "SparkContext", backbone: "Backbone") -> LiteRTEngine | TensorFlowEngine:
    """Send the model to the workers, once, and return the engine that unpacks it there."""
    return _make_engine(backbone, share=context.broadcast)


def local_engine(backbone: "Backbone") -> LiteRTEngine | TensorFlowEngine:
    """Return the engine for this process, without Spark."""
    return _make_engine(backbone, share=lambda value: SimpleNamespace(value=value))


def _make_engine(backbone: "Backbone", *, share: Callable[[Any], Any]) -> LiteRTEngine | TensorFlowEngine:
    if backbone.engine == "litert":
        from fruits.features.model import read_flatbuffer

        return LiteRTEngine(share(read_flatbuffer(backbone)))
    with np.load(backbone.tensors_file) as tensors:
        shared = share([tensors[name] for name in tensors.files])
    return TensorFlowEngine(shared, backbone.network)
