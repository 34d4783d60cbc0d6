"""Ray Data: `read_images`, and an actor on each core that keeps the model; without checkpoints."""

import sys
from typing import Any

import numpy as np
import ray
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

folder, flatbuffer, output = sys.argv[1:]


class Featurizer:
    """Keeps an interpreter."""

    def __init__(self) -> None:
        self.interpreter = Interpreter(flatbuffer, num_threads=1)
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.result = self.interpreter.get_output_details()[0]["index"]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the features of images."""
        rows = []
        for pixels in batch["image"]:
            image = Image.fromarray(pixels).resize((224, 224))
            self.interpreter.set_tensor(self.source, np.asarray(image)[np.newaxis])
            self.interpreter.invoke()
            rows.append(self.interpreter.get_tensor(self.result)[0])
        return {"path": batch["path"], "features": np.stack(rows)}


ray.init(num_cpus=2)
images = ray.data.read_images(folder, include_paths=True, mode="RGB")
images.map_batches(Featurizer, batch_size=64, concurrency=2, num_cpus=0.5).write_parquet(output)
