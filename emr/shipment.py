"""What travels to the bucket: the images, packed or not, the model as a flatbuffer, and the code."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emr.bucket import CODE, JUPYTER, MODELS, RAW
from emr.context import Context
from emr.hub import make_notebook
from emr.transfer import delete_objects, list_objects, upload
from fruits import folders
from fruits.errors import FruitsError, UsageError
from fruits.features.weights import keras_cache
from fruits.networks import DEFAULT, NETWORKS
from fruits.params import load_params, repository
from fruits.workers import zip_code
from fruits.yaml_text import read_yaml, replace_value

PLAIN = ("bootstrap.sh", "step.sh", "requirements-worker.txt", "sparkmagic.json")
_EMR = Path(__file__).parent
_KERAS_MODELS = f"{CODE}keras/models/"
_PREPARED = ("model.json", "model.tflite", "weights.npz")
# Nodes of EMR 7 run Amazon Linux 2023 (glibc 2.34).
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def upload_dataset(
    context: Context, source: Path | None, *, files: bool, weights: Path | None, wheelhouse: bool = False
) -> dict[str, Any] | None:
    """Pack the images (or take them as they are) and make the bucket hold these and no others; ship model and code.

    Parameters
    ----------
    source
        A folder of images as `fruits run` takes it; None takes the one of `params/local.yaml`.
    files
        Send the images one by one instead of in shards.
    weights
        An .h5 file to use on the cluster in the place of Keras's ImageNet weights.
    wheelhouse
        Send the Python packages of the nodes, too.
    """
    source = source or load_params("MINI", "local").path("input_dir")
    prefix = input_prefix(context)
    check_images(source)
    with TemporaryDirectory() as name:
        code = make_code(context, Path(name), weights=weights)
        places, keras = _read_places(context)
        if places.get("weights") == "imagenet" and keras.is_file():
            # Livy's session has no Keras to download weights, but can copy them from the bucket.
            places["weights"] = f"s3://{context.bucket}/{_KERAS_MODELS}{keras.name}"
        parts = {CODE: code, MODELS: find_models(context), JUPYTER: make_notebook(context, places, Path(name))}
        if context.dry_run:
            images = _list_images(source, prefix) if files else [f"{prefix}images-*.parquet"]
            return {"bucket": context.bucket, "objects": [key for part in (*parts.values(), images) for key in part]}
        if wheelhouse:
            code |= fetch_wheels(context, Path(name))
        parts[prefix] = _list_images(source if files else _pack(context, source), prefix)
        for start, part in parts.items():
            if part:
                context.say(f"s3://{context.bucket}/{start}: {upload(context, part, prefix=start)}")
    _remove_others(context, set(parts[prefix]), prefix=prefix)
    return None


def check_images(source: Path) -> None:
    """Refuse a folder without images, by a UsageError: the upload would empty the bucket's."""
    # pyarrow comes along.
    from fruits.images import open_images
    from fruits.images.rows import ALL

    try:
        open_images(source).check_classes(split=ALL, classes=["*"])
    except UsageError as error:
        raise UsageError(f"{error} Or: fruits fetch MODE. Nothing was sent or removed.") from error


def input_prefix(context: Context) -> str:
    """Return where the runs of this bucket look for images: `input_dir` of `params/emr.yaml`."""
    place = str(_read_places(context)[0].get("input_dir", ""))
    key = place.partition("://")[2].partition("/")[2].strip("/")
    if not key.startswith(RAW):
        raise UsageError(f"params/emr.yaml: input_dir = {place!r}: allowed: a folder below s3://{context.bucket}/{RAW}")
    return f"{key}/"


def ship_code(context: Context) -> None:
    """Bring the code as it is now to the bucket."""
    with TemporaryDirectory() as name:
        sent = upload(context, make_code(context, Path(name)), prefix=CODE)
    context.say(f"s3://{context.bucket}/{CODE}: {sent}")


def make_code(context: Context, folder: Path, *, weights: Path | None = None) -> dict[str, Path]:
    """Return what the nodes start from by key: package, repository, scripts, pinned environment, Keras's weights."""
    root, params = repository(), context.params_file
    files = {CODE + name: _EMR / name for name in PLAIN}
    if (keras := _read_places(context)[1]).is_file():
        files[_KERAS_MODELS + keras.name] = keras
    if weights:
        files[_name_weights(context, weights)] = weights
    more = {"pyproject.toml": root / "pyproject.toml"} | ({"params/emr.yaml": params} if params.is_file() else {})
    (folder / "fruits.zip").write_bytes(zip_code(root / "lib", "fruits"))
    tree = zip_code(root, "lib/fruits", "lib/fruits_cli", "notebooks", "params", more=more)
    (folder / "repository.zip").write_bytes(tree)
    return files | {CODE + file.name: file for file in folder.glob("*.zip")}


def find_models(context: Context) -> dict[str, Path]:
    """Return the flatbuffers that runs here have made, by key, so that no node needs TensorFlow."""
    found: dict[str, Path] = {}
    for facts in sorted((context.home / "data").glob("**/models/*/model.json")):
        folder = facts.parent
        if not folder.name.startswith("random-") and all((folder / name).is_file() for name in _PREPARED):
            found |= {f"{MODELS}{folder.name}/{name}": folder / name for name in _PREPARED}
    if not found:
        context.say(
            "No prepared model is here, and the nodes have no TensorFlow to make one: first run, on this machine, "
            "`fruits run MINI --target local` with the weights that the cluster shall use, then repeat this command."
        )
    return found


def fetch_wheels(context: Context, folder: Path) -> dict[str, Path]:
    """Fetch the pinned wheels of the nodes' environment by pip, which checks their hashes, and return them by key."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:"]
    # As in bootstrap.sh, where the last option is explained.
    command += ["--python-version=3.11", "--implementation=cp", f"--dest={folder}", "--ignore-requires-python"]
    # A g after the generation means Graviton.
    graviton = {bool(re.match(r"[a-z]+\d+g", kind)) for kind, _, _ in context.settings.node_types}
    for machine in sorted("aarch64" if arm else "x86_64" for arm in graviton):
        platforms = [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
        done = subprocess.run([*command, *platforms, "-r", str(_EMR / "requirements-worker.txt")], check=False)
        if done.returncode:
            raise FruitsError(f"pip could not fetch the wheels (exit {done.returncode}); see its lines above.")
    context.say("Set wheelhouse: true in emr/cluster.yaml, so that the nodes take the wheels that are sent now.")
    return {f"{CODE}wheelhouse/{wheel.name}": wheel for wheel in sorted(folder.glob("*.whl"))}


def _read_places(context: Context) -> tuple[dict[str, Any], Path]:
    """Read `params/emr.yaml`; return where Keras keeps the weights of its network, too: the file need not be there."""
    file = context.params_file
    values = read_yaml(file if file.is_file() else repository() / "params" / "emr.example.yaml")
    network = NETWORKS.get(values.get("backbone", ""), DEFAULT)
    return values, keras_cache() / network.file.format(size=values.get("input_size") or network.size)


def _name_weights(context: Context, weights: Path) -> str:
    """Write into `params/emr.yaml` where the file of weights lies for the cluster, and return its key."""
    if not weights.is_file():
        raise UsageError(f"--weights: there is no file {weights}.")
    file, key = context.params_file, f"{CODE}weights/{weights.name}"
    place = f"s3://{context.bucket}/{key}"
    if file.is_file() and not context.dry_run:
        folders.write_bytes(file, replace_value(file.read_text(encoding="utf-8"), "weights", place).encode())
    context.say(f"In {file}: weights: {place}")
    return key


def _list_images(folder: Path, prefix: str) -> dict[str, Path]:
    return {prefix + file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}


def _pack(context: Context, source: Path) -> Path:
    """Bundle the images by `fruits pack`; the same images make the same shards, which are not sent twice."""
    if any(source.glob("*.parquet")):
        return source
    packed = context.home / "data" / "packed" / source.name
    command = [str(Path(sys.executable).with_name("fruits")), "pack", str(source), str(packed)]
    if subprocess.run(command, check=False).returncode:
        raise FruitsError(f"{source} could not be packed; see the line above (--files sends the images as they are).")
    return packed


def _remove_others(context: Context, wanted: set[str], *, prefix: str) -> None:
    """Remove what an earlier upload left: shards beside files, or of other images, would be read twice."""
    client, bucket = context.client("s3"), context.bucket
    if others := sorted(set(list_objects(client, bucket, prefix)) - wanted):
        context.ask(f"Remove {len(others)} other objects from s3://{bucket}/{prefix} ({others[0]}, ...)?")
        delete_objects(client, bucket, others)
