"""Networks as data: each row makes features of real length, by both engines, at more than one size."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WEIGHTS
from PIL import Image

import fruits
from fruits import networks
from fruits.errors import FruitsError, UsageError
from fruits.features.engines import local_engine
from fruits.features.model import Backbone, load_model
from fruits.networks import DEFAULT, NETWORKS, find_network
from fruits.params import load_params

REPOSITORY = Path(__file__).resolve().parents[1]
# What Keras does: `preprocess_input` on the pixels, then the network.
IN_KERAS = """
import sys
import keras, numpy as np
from fruits.networks import NETWORKS
name, weights, pixels, result = sys.argv[1:]
network, pixels = NETWORKS[name], np.load(pixels).astype("float32")
kind = {"resnet50": "resnet"}.get(name, name.removesuffix("_b0"))
prepare = getattr(keras.applications, kind).preprocess_input
shape = pixels.shape[1:]
model = getattr(keras.applications, network.application)(
    weights=None, include_top=False, pooling="avg", input_shape=shape
)
with np.load(weights) as tensors:
    model.set_weights([tensors[key] for key in tensors.files])
np.save(result, model.predict(prepare(pixels), verbose=0))
"""


@pytest.mark.tensorflow
@pytest.mark.parametrize(("name", "length"), [("efficientnet_v2_b0", 1280), ("resnet50", 2048)])
def test_features_are_those_of_keras(name: str, length: int, tmp_path: Path) -> None:
    """Those of MobileNetV2 are compared in test_engines.py."""
    size = 64
    model = load_model("random", backbone=name, input_size=size, folder=tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)

    found = local_engine(model)()(pixels)

    assert (found.shape, model.features) == ((2, length), length)
    files = [str(model.tensors_file), str(tmp_path / "pixels.npy"), str(tmp_path / "right.npy")]
    subprocess.run([sys.executable, "-c", IN_KERAS, name, *files], check=True, capture_output=True)
    right = np.load(tmp_path / "right.npy")
    assert 1e-3 < right.std() < 1e5
    np.testing.assert_allclose(found, right, atol=1e-4 * np.abs(right).max())


@pytest.mark.tensorflow
def test_trained_weights_at_another_size_are_other_features(shared: Path, tmp_path: Path) -> None:
    weights = str(shared / WEIGHTS)
    small = fruits.load_model(weights, input_size=160, folder=tmp_path)
    image = next((shared / "fruits-360/Training/Kiwi").iterdir())
    pixels = np.asarray(Image.open(image).convert("RGB").resize((160, 160)))[None]
    assert small.model_id != dataclasses.replace(small, network=DEFAULT).model_id
    assert small.describe()["input"] == "160 x 160 pixels"
    litert, tensorflow = (
        local_engine(dataclasses.replace(small, engine=name))()(pixels) for name in ("litert", "tensorflow")
    )
    np.testing.assert_allclose(litert, tensorflow, atol=2e-4)


def test_the_features_of_earlier_versions_keep_their_name() -> None:
    about: dict[str, Any] = {"weights": "", "engine": "litert", "tensors": 260, "parameters": 1, "bytes": 1}
    known = Backbone(sha256="ab" * 32, folder=Path(), network=DEFAULT, **about)
    assert known.model_id == "mobilenetv2-litert-eb38bddefa9c"


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("vgg16", 0, r"backbone 'vgg16': allowed: mobilenet_v2, efficientnet_v2_b0, resnet50\."),
        ("mobilenet_v2", 150, r"input_size = 150: mobilenet_v2 takes 96, 128, 160, 192, 224; 0 means its own, 224\."),
        ("resnet50", 31, r"input_size = 31: resnet50 takes 32 to 1024; 0 means its own, 224\."),
    ],
)
def test_what_no_row_has_is_refused(name: str, size: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find_network(name, size)
    with pytest.raises(FruitsError, match=re.escape(name)):
        load_params("MINI", "sample", {"backbone": name, "input_size": str(size)})


def test_a_row_is_whole() -> None:
    assert len({row.recipe for row in NETWORKS.values()}) == len(NETWORKS)
    for name, row in NETWORKS.items():
        assert find_network(name) == row
        assert row.size in row.sizes
        assert "{size}" in row.recipe
        assert sorted(row.channels) == [0, 1, 2]
        assert row.url.endswith("/")
    assert networks.DEFAULT is NETWORKS[load_params("MINI", "sample").backbone]


def test_no_other_module_knows_a_network() -> None:
    """The key of the default is a parameter's default."""
    words = re.compile(r"1280|1,280|\b224\b|\b260\b|MobileNetV2|efficientnet|resnet")
    others = [file for file in (REPOSITORY / "lib").rglob("*.py") if file.name != "networks.py"]
    found = {file.name: words.findall(file.read_text()) for file in others}
    assert {name: hits for name, hits in found.items() if hits} == {}
