"""Who is measured: command, environment, lines of user code, and what is known of each."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
JOBS, BASELINES = FOLDER.parent / "jobs.py", FOLDER.parent / "baselines.py"


@dataclass(frozen=True)
class Model:
    """The same network as files: Keras's weights, a LiteRT flatbuffer, the tensors alone, and the facts of ours."""

    weights: str
    flatbuffer: str
    tensors: str
    facts: str


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A way from images to features.

    Attributes
    ----------
    environment
        The folder of its Python.
    words
        What stands behind `python`, of a folder of images, the model and the folder of the output.
    code
        The file of its user code, or the functions of it.
    images, rounds
        At most so many: it is slow. 0 for all.
    """

    name: str
    environment: str
    words: Callable[[str, Model, str], list[str]]
    code: tuple[Path, tuple[str, ...]]
    engine: str
    images: int = 0
    rounds: int = 0

    def count_lines(self) -> int:
        """Count the lines of its user code without blank ones, comments and docstrings."""
        return count_lines(*self.code)


def count_lines(file: Path, functions: tuple[str, ...] = ()) -> int:
    """Count lines of a file, or of some of its functions, that hold code."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    chosen = [node for node in tree.body if not functions or getattr(node, "name", "") in functions]
    lines = {number for node in chosen for number in range(_first_line(node), (node.end_lineno or 0) + 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    written = dict(enumerate(text.splitlines(), start=1))
    return sum(1 for number in lines if written[number].strip() and not written[number].strip().startswith("#"))


def _first_line(node: ast.stmt) -> int:
    lines: list[int] = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
    return min([node.lineno, *lines])


def _script(name: str, file: str, environment: str, takes: str, engine: str) -> Peer:
    def words(folder: str, model: Model, output: str) -> list[str]:
        return [str(FOLDER / file), folder, getattr(model, takes), f"{output}/features.parquet"]

    return Peer(name=name, environment=environment, words=words, code=(FOLDER / file, ()), engine=engine)


def _job(job: str, settings: dict[str, Any], output: str) -> list[str]:
    return ["-m", "benchmarks.jobs", job, json.dumps(settings), f"{output}/result.json"]


def _ours(folder: str, model: Model, output: str) -> list[str]:
    return _job("ours", {"input_dir": folder, "model": model.facts, "store": f"{output}/store"}, output)


def _baseline(job: str, key: str, takes: str) -> Callable[[str, Model, str], list[str]]:
    def words(folder: str, model: Model, output: str) -> list[str]:
        settings = {"input_dir": folder, key: getattr(model, takes), "output": f"{output}/features.parquet"}
        return _job(job, settings, output)

    return words


PEERS = [
    Peer(
        name="ours",
        environment=".venv",
        words=_ours,
        code=(JOBS, ("extract", "_open_ours", "_load_backbone")),
        engine="LiteRT",
    ),
    _script("ours, as a library", "ours.py", ".venv", "weights", "LiteRT"),
    Peer(
        name="plain processes",
        environment=".venv",
        words=_baseline("two plain processes", "flatbuffer", "flatbuffer"),
        code=(BASELINES, ("extract_plainly", "_extract_part", "_load_litert")),
        engine="LiteRT",
    ),
    _script("Daft", "daft_class.py", ".peers", "flatbuffer", "LiteRT"),
    _script("Ray Data", "ray_actors.py", ".peers", "flatbuffer", "LiteRT"),
    _script("torch DataLoader", "torch_loader.py", ".peers", "tensors", "torch"),
    _script("FiftyOne", "fiftyone_embeddings.py", ".peers", "flatbuffer", "LiteRT"),
    _script("keras predict", "keras_predict.py", ".venv", "weights", "TensorFlow"),
    _script("Spark predict_batch_udf", "spark_batch_udf.py", ".venv", "weights", "TensorFlow"),
    Peer(
        name="scalar pandas UDF",
        environment=".venv",
        words=_baseline("naive UDF", "weights", "tensors"),
        code=(
            BASELINES,
            (
                "extract_naively",
                "read_binary_files",
                "_open_plain_spark",
                "_read_tensors",
                "_build_model",
                "_preprocess",
            ),
        ),
        engine="TensorFlow",
        images=300,
        rounds=1,
    ),
]


def pca_words(name: str, store: str, output: str) -> list[str]:
    """Return what stands behind `python` to fit a PCA of 200 components to a store."""
    if name == "scikit-learn":
        return [str(FOLDER / "sklearn_pca.py"), store, "200", f"{output}/result.json"]
    return _job({"ours": "ours, PCA", "pyspark.ml": "pyspark PCA"}[name], {"store": store}, output)


PCAS = ("ours", "pyspark.ml", "scikit-learn")
