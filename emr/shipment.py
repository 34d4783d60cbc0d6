"""What travels to the bucket: the images, packed or not, the model as a flatbuffer, and the code."""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emr.context import CODE, HUB_USER, JUPYTER, MODELS, RAW, Context
from emr.transfer import delete_objects, list_objects, upload
from fruits.errors import FruitsError, UsageError
from fruits.features.weights import keras_cache
from fruits.folders import write_bytes
from fruits.networks import DEFAULT, NETWORKS
from fruits.params import load_params, repository
from fruits.workers import zip_code
from fruits.yaml_text import read_yaml, replace_value

PLAIN = ("bootstrap.sh", "step.sh", "requirements-worker.txt", "sparkmagic.json")
ENVIRONMENT = f"{CODE}environment.tar.gz"
_KERAS_MODELS = f"{CODE}keras/models/"
_PINS = Path(__file__).with_name("requirements-worker.txt")
_PREPARED = ("model.json", "model.tflite", "weights.npz")
# Nodes of EMR 7 run Amazon Linux 2023 (glibc 2.34).
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def upload_dataset(
    context: Context, source: Path | None, *, files: bool, weights: Path | None, wheelhouse: bool = False
) -> dict[str, Any] | None:
    """Pack IMAGES (a folder as `fruits run` takes it; default: that of params/local.yaml), send them, model and code.

    The bucket holds these images then, and no others.
    """
    bucket, prefix = context.bucket, input_prefix(context)
    source = source or load_params("MINI", "local").path("input_dir")
    check_images(source)
    with TemporaryDirectory() as name:
        parts = {CODE: make_code(context, Path(name), weights=weights), MODELS: find_models(context)}
        parts[JUPYTER] = make_notebook(context, Path(name))
        if context.dry_run:
            images = _list_images(source, prefix) if files else [f"{prefix}images-*.parquet"]
            return {"bucket": bucket, "objects": [key for part in (*parts.values(), images) for key in part]}
        if wheelhouse:
            parts[CODE] |= fetch_wheels(context, Path(name))
        parts[prefix] = _list_images(source if files else _pack(context, source), prefix)
        client = context.client("s3")
        there = {start: list_objects(client, bucket, start) for start in parts}
        for start in filter(parts.get, parts):
            context.say(f"s3://{bucket}/{start}: {upload(context, parts[start], there=there[start])}")
    # What an earlier upload left: shards beside files, or other images, would be read, too.
    if others := sorted(there[prefix].keys() - parts[prefix].keys()):
        context.ask(f"Remove {len(others)} other objects from s3://{bucket}/{prefix} ({others[0]}, ...)?")
        delete_objects(client, bucket, others)
    return None


def check_images(source: Path) -> None:
    """Refuse a folder without images, by a UsageError: the upload would empty the bucket's."""
    from fruits.images import open_images
    from fruits.images.rows import ALL

    open_images(source).check_classes(split=ALL, classes=["*"])


def input_prefix(context: Context) -> str:
    """Return where the runs of this bucket look for images: `input_dir` of `params/emr.yaml`."""
    place = str(_read_places(context)[0].get("input_dir", ""))
    key = place.partition("://")[2].partition("/")[2].strip("/")
    if not key.startswith(RAW):
        raise UsageError(f"params/emr.yaml: input_dir = {place!r}: allowed: a folder below s3://{context.bucket}/{RAW}")
    return f"{key}/"


def count_objects(context: Context) -> dict[str, int]:
    """Count what no run can be without, below the places where it is looked for."""
    places = {"code": f"{CODE}bootstrap.sh", "a model": MODELS, "images": input_prefix(context)}
    places |= {"the packed environment": ENVIRONMENT} if context.settings.packed else {}
    client = context.client("s3")
    return {what: len(list_objects(client, context.bucket, place)) for what, place in places.items()}


def ship_code(context: Context) -> None:
    """Bring the code as it is now to the bucket."""
    with TemporaryDirectory() as name:
        there = list_objects(context.client("s3"), context.bucket, CODE)
        context.say(f"Code: {upload(context, make_code(context, Path(name)), there=there)}")


def make_code(context: Context, folder: Path, *, weights: Path | None = None) -> dict[str, Path]:
    """Return what the nodes start from by key: package, repository, scripts, pinned environment, Keras's weights."""
    root, keras = repository(), _read_places(context)[1]
    files = {_KERAS_MODELS + keras.name: keras} if keras.is_file() else {}
    if weights:
        files[_name_weights(context, weights)] = weights
    folders = ("lib/fruits", "lib/fruits_cli", "notebooks", "params")
    more = {"pyproject.toml": root / "pyproject.toml", "params/emr.yaml": context.params_file}
    files[f"{CODE}fruits.zip"] = zip_code(folder / "fruits.zip", root / "lib", "fruits")
    files[f"{CODE}repository.zip"] = zip_code(folder / "repository.zip", root, *folders, more=more)
    files |= {ENVIRONMENT: find_environment(context)} if context.settings.packed else {}
    return files | {CODE + name: root / "emr" / name for name in PLAIN}


def make_notebook(context: Context, folder: Path) -> dict[str, Path]:
    """Write the notebook for the Hub's user; return it by its key, or nothing if one is there: it may be edited."""
    from fruits.notebook import fill_parameters

    source, (values, keras) = repository() / "notebooks" / "emr_jupyterhub.ipynb", _read_places(context)
    key, file = f"{JUPYTER}{HUB_USER}/{source.name}", folder / source.name
    if not context.dry_run and list_objects(context.client("s3"), context.bucket, key):
        context.say(f"s3://{context.bucket}/{key} stays as it was saved; delete it and repeat this for a new one.")
        return {}
    if values.get("weights") == "imagenet":
        # Livy's session has no Keras to download weights, but can copy them from the bucket.
        values["weights"] = f"s3://{context.bucket}/{_KERAS_MODELS}{keras.name}"
    notebook = json.loads(source.read_text(encoding="utf-8"))
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] = fill_parameters("".join(cell["source"]), values)
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {key: file}


def find_models(context: Context) -> dict[str, Path]:
    """Return the flatbuffers that runs here have made, by key, so that no node needs TensorFlow."""
    found: dict[str, Path] = {}
    untrained = _read_places(context)[0].get("weights") == "random"
    for folder in sorted(facts.parent for facts in (context.home / "data").glob("**/models/*/model.json")):
        files = {f"{MODELS}{folder.name}/{name}": folder / name for name in _PREPARED}
        if folder.name.startswith("random-") == untrained and all(file.is_file() for file in files.values()):
            found |= files
    if not found:
        context.say(
            "No prepared model is here, and the nodes cannot make one: first run, on this machine and with the weights "
            "for the cluster, `fruits run MINI --target local`, then repeat this command."
        )
    return found


def find_environment(context: Context) -> Path:
    """Return the packed environment of the nodes; a UsageError says how to make it if it is missing or older."""
    machine, *others = find_machines(context)
    if others:
        raise UsageError("packed: true: allowed: nodes of one architecture; choose all of them with Graviton, or none.")
    archive = context.home / ".packed" / f"{machine}.tar.gz"
    if not archive.is_file() or archive.stat().st_mtime < _PINS.stat().st_mtime:
        raise UsageError(
            f"packed: true needs {archive}, which is missing or older than {_PINS.name}; "
            f"first run: make packed-env ARCH={machine}"
        )
    return archive


def find_machines(context: Context) -> list[str]:
    """Return the architectures of the nodes; a g after the generation of an instance type means Graviton."""
    kinds = [kind for kind, _, _ in context.settings.node_types]
    return sorted({"aarch64" if re.match(r"[a-z]+\d+g", kind) else "x86_64" for kind in kinds})


def fetch_wheels(context: Context, folder: Path) -> dict[str, Path]:
    """Fetch the pinned wheels of the nodes' environment by pip, which checks their hashes, and return them by key."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:"]
    # As in bootstrap.sh, where the last option is explained.
    command += ["--python-version=3.11", "--implementation=cp", f"--dest={folder}", "--ignore-requires-python"]
    for machine in find_machines(context):
        platforms = [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
        done = subprocess.run([*command, *platforms, "-r", str(_PINS)], check=False)
        if done.returncode:
            raise FruitsError(f"pip could not fetch the wheels (exit {done.returncode}); see its lines above.")
    context.say("Set wheelhouse: true in emr/cluster.yaml, so that the nodes take the wheels that are sent now.")
    return {f"{CODE}wheelhouse/{wheel.name}": wheel for wheel in sorted(folder.glob("*.whl"))}


def _read_places(context: Context) -> tuple[dict[str, Any], Path]:
    """Read `params/emr.yaml`; return where Keras keeps the weights of its network, too: the file need not be there."""
    values = read_yaml(context.params_file)
    network = NETWORKS.get(values.get("backbone", ""), DEFAULT)
    return values, keras_cache() / network.file.format(size=values.get("input_size") or network.size)


def _name_weights(context: Context, weights: Path) -> str:
    """Write into `params/emr.yaml` where the file of weights lies for the cluster, and return its key."""
    file, key = context.params_file, f"{CODE}weights/{weights.name}"
    place = f"s3://{context.bucket}/{key}"
    if not context.dry_run:
        write_bytes(file, replace_value(file.read_text(encoding="utf-8"), "weights", place).encode())
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
