"""FiftyOne: `compute_embeddings` of a dataset that is kept, with a model of the user's own."""

import sys
from typing import Any

import fiftyone as fo
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

folder, flatbuffer, output = sys.argv[1:]


class Featurizer(fo.Model):  # type: ignore[misc] # has no types
    """Keeps an interpreter."""

    media_type, has_embeddings, ragged_batches, transforms, preprocess = "image", True, False, None, False

    def __init__(self, flatbuffer: str) -> None:
        self.interpreter = Interpreter(flatbuffer, num_threads=2)
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.result = self.interpreter.get_output_details()[0]["index"]

    def embed(self, pixels: Any) -> Any:
        """Compute the features of an image."""
        image = Image.fromarray(pixels).resize((224, 224))
        self.interpreter.set_tensor(self.source, np.asarray(image)[np.newaxis])
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.result)[0]

    def predict(self, pixels: Any) -> Any:
        """Label nothing: FiftyOne asks for the method."""
        raise NotImplementedError


images = fo.Dataset.from_images_dir(folder, recursive=True)
features = images.compute_embeddings(Featurizer(flatbuffer))
pq.write_table(pa.table({"path": images.values("filepath"), "features": list(features)}), output)
