"""Daft: files by `download`, a class that keeps the model in each of two processes."""

import io
import sys
from typing import Any

import daft
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from daft import DataType
from daft.functions import download
from PIL import Image

folder, flatbuffer, output = sys.argv[1:]


@daft.cls(max_concurrency=2, use_process=True)
class Featurizer:
    """Keeps an interpreter."""

    def __init__(self, flatbuffer: str) -> None:
        self.interpreter = Interpreter(flatbuffer, num_threads=1)
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.result = self.interpreter.get_output_details()[0]["index"]

    @daft.method.batch(return_dtype=DataType.list(DataType.float32()), batch_size=64)  # type: ignore[misc] # has no types here
    def featurize(self, contents: Any) -> Any:
        """Compute the features of files."""
        rows = []
        for content in contents:
            image = Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224))
            self.interpreter.set_tensor(self.source, np.asarray(image)[np.newaxis])
            self.interpreter.invoke()
            rows.append(self.interpreter.get_tensor(self.result)[0])
        return rows


files = daft.from_glob_path(f"{folder}/**/*.jpg").into_batches(256)
features = Featurizer(flatbuffer).featurize(download(files["path"]))
files.select("path", features.alias("features")).write_parquet(output)
