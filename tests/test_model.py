"""MobileNetV2 as prepared files: the right 260 tensors, converted once, or one sentence."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WEIGHTS, make_weights_file

from fruits.errors import FruitsError, UsageError
from fruits.features import model
from fruits.features.engines import LiteRTEngine, local_engine
from fruits.features.model import Backbone, find_model_id, load_model, read_flatbuffer
from fruits.folders import hash_file

DRAWS = """
import json
from fruits.features.keras_model import build_model, describe_tensors
from fruits.networks import DEFAULT
models = [build_model(DEFAULT, None, seed=seed) for seed in (3, 3, 4)]
print(json.dumps([describe_tensors(model.get_weights())["values_sha256"] for model in models]))
"""


@pytest.fixture
def right(tmp_path: Path) -> Backbone:
    return Backbone(
        weights="w.h5",
        sha256="ab",
        engine="litert",
        tensors=260,
        parameters=2_257_984,
        bytes=9_031_936,
        folder=tmp_path,
    )


def forbid_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(subprocess, "run", refuse)


def plant(folder: Path, **wrong: int | str) -> None:
    facts = {"tensors": 260, "parameters": 2_257_984, "bytes": 9_031_936, "values_sha256": "cd", **wrong}
    folder.mkdir(parents=True, exist_ok=True)
    for part in model.CONVERTED:
        (folder / part).write_text(json.dumps(facts))


@pytest.mark.parametrize("trained", [True, False])
def test_without_tensorflow_it_says_who_makes_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    """As on the nodes of a cluster, which are sent a converted model."""
    forbid_conversion(monkeypatch)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (file := tmp_path / "w.h5").write_bytes(make_weights_file())
    with pytest.raises(FruitsError, match=r"`fruits run MINI --target local`.*upload-dataset` uploads it"):
        load_model(str(file) if trained else "random", folder=tmp_path / "models")


def test_model_id_follows_weights_and_engine_but_not_the_place(right: Backbone) -> None:
    others = [dataclasses.replace(right, sha256="ac"), dataclasses.replace(right, engine="tensorflow")]
    assert len({right.model_id, *(other.model_id for other in others)}) == 3
    assert dataclasses.replace(right, folder=Path("/else"), weights="imagenet").model_id == right.model_id


def test_description_says_got_and_right(right: Backbone) -> None:
    told = right.describe()
    assert (told["tensors"], told["size"]) == ("260 (right: 260)", "8.61 MiB (right: 8.61)")
    assert told["parameters"] == "2,257,984 (right: 2,257,984)"


@pytest.mark.parametrize("wrong", [{"tensors": 262}, {"parameters": 3_538_984}, {"bytes": 18_063_872}])
def test_converted_weights_are_found_by_their_hash_and_checked(
    wrong: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_conversion(monkeypatch)
    (tmp_path / "w.h5").write_bytes(content := make_weights_file())
    sha256 = hashlib.sha256(content).hexdigest()
    place: dict[str, Any] = {"engine": "litert", "seed": 1, "folder": tmp_path / "models", "base": tmp_path}
    plant(tmp_path / "models" / f"{sha256[:16]}-d8d6")
    found = load_model("w.h5", **place)
    assert (found.sha256, found.tensors) == (sha256, 260)
    assert find_model_id("w.h5", **place) == found.model_id
    plant(found.folder, **wrong)
    right = "260 tensors, 2,257,984 parameters, 9,031,936 bytes"
    with pytest.raises(FruitsError, match=rf"w\.h5 holds .*{next(iter(wrong.values())):,} .* has {right}; name"):
        load_model("w.h5", **place)
    (tmp_path / "w.h5").write_bytes(make_weights_file(1))
    with pytest.raises(AssertionError, match="converted again"):
        load_model("w.h5", **place)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_changed_flatbuffer_is_refused_and_one_without_a_hash_is_taken(
    earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_conversion(monkeypatch)
    (tmp_path / "w.h5").write_bytes(content := make_weights_file())
    folder = tmp_path / f"{hashlib.sha256(content).hexdigest()[:16]}-d8d6"
    plant(folder, **{} if earlier else {"flatbuffer_sha256": hashlib.sha256(b"flat").hexdigest()})
    (folder / "model.tflite").write_bytes(b"flat")
    found = load_model("w.h5", folder=tmp_path, base=tmp_path)
    engine = local_engine(found)
    assert isinstance(engine, LiteRTEngine)
    assert engine.flatbuffer.value == b"flat"
    (folder / "model.tflite").write_bytes(b"flap")
    if earlier:
        assert read_flatbuffer(found) == b"flap"
    else:
        with pytest.raises(FruitsError, match=rf"begins with [0-9a-f]{{12}}, .*Delete {folder}, .*upload-dataset"):
            local_engine(found)


def test_an_unknown_engine_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'onnx'.*litert, tensorflow"):
        load_model("random", engine="onnx", folder=tmp_path)


@pytest.mark.parametrize(
    ("code", "stderr", "word"),
    [
        (-9, "I0000 cpu_feature_guard: rebuild TensorFlow with the flags.\n", r"signal|killed|-9"),
        (1, "  File x\nValueError: 68 objects\nmissed:\n[<Conv2D name=Conv1>, <Conv2D name=Conv2>]\n", "68 objects"),
    ],
    ids=["killed", "several lines"],
)
def test_the_reason_is_the_error_not_the_last_line(
    code: int, stderr: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], code, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(FruitsError, match=word):
        load_model("random", seed=1, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tensorflow
def test_random_weights_are_mobilenet_converted_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_model("random", seed=42, folder=models)
    forbid_conversion(monkeypatch)
    assert load_model("random", seed=42, folder=models) == first
    assert (first.tensors, first.parameters, first.bytes) == (260, 2_257_984, 9_031_936)
    with np.load(first.tensors_file) as tensors:
        assert sum(tensors[name].size for name in tensors.files) == 2_257_984
    assert first.flatbuffer.stat().st_size == pytest.approx(8.85e6, rel=0.01)
    assert first.flatbuffer_sha256 == hash_file(first.flatbuffer)
    assert "tensorflow" not in sys.modules


@pytest.mark.tensorflow
def test_trained_weights_are_known_by_the_files_hash(shared: Path, trained_models: Path) -> None:
    trained = load_model(str(shared / WEIGHTS), folder=trained_models)
    assert trained.sha256 == "6dab8ef2ce8915ac8dd18fe911e8536532296058fedfd4204b0db0b163750ca7"
    assert trained.flatbuffer.stat().st_size == pytest.approx(8.85e6, rel=0.01)


@pytest.mark.tensorflow
def test_the_seed_draws_the_weights() -> None:
    output = subprocess.check_output([sys.executable, "-c", DRAWS], stderr=subprocess.DEVNULL)
    same, again, other = json.loads(output.splitlines()[-1])
    assert same == again != other


@pytest.mark.tensorflow
def test_a_file_that_is_not_mobilenet_is_one_sentence(tmp_path: Path) -> None:
    (file := tmp_path / "w.h5").write_bytes(make_weights_file())
    with pytest.raises(FruitsError, match="expected 104 layers") as caught:
        load_model(str(file), folder=tmp_path / "models")
    assert str(file) in str(caught.value)
    assert list((tmp_path / "models").iterdir()) == []
