"""What travels to the bucket: the images, packed or not, the model as a flatbuffer, and the code."""

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from emr.bucket import CODE, MODELS, RAW, check_place
from emr.context import Context
from emr.hub import KERAS_MODELS, ship_notebook
from emr.request import Request
from emr.transfer import delete_objects, list_objects, upload
from fruits import folders
from fruits.errors import FruitsError, UsageError
from fruits.features.weights import keras_cache
from fruits.params import load_params, repository
from fruits.yaml_text import read_yaml

PLAIN = ("bootstrap.sh", "step.sh", "requirements-worker.txt", "sparkmagic.json")
_EMR = Path(__file__).parent
_BACKBONE = "mobilenet_v2_*no_top*.h5"
_WEIGHTS = f"{CODE}weights/"
_PREPARED = ("model.json", "model.tflite", "weights.npz")
# Nodes of EMR 7 run Amazon Linux 2023 (glibc 2.34).
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def upload_dataset(context: Context, source: Path | None, *, files: bool, weights: Path | None) -> None:
    """Pack the images (or take them as they are) and make the bucket hold these and no others; ship model and code.

    Parameters
    ----------
    source
        The folder that holds `Training/`; None takes the one of `params/local.yaml`.
    files
        Send the images one by one instead of in shards.
    weights
        An .h5 file to use on the cluster in the place of Keras's ImageNet weights.
    """
    bucket = context.bucket
    source = source or load_params("MINI", "local").path("input_dir")
    check_images(source)
    ship_code(context, weights=weights)
    ship_model(context)
    ship_notebook(context)
    prefix = input_prefix(context)
    if context.account.dry_run and not files:
        shards = {"Bucket": bucket, "Key": f"{prefix}images-*.parquet", "Filename": "<what `fruits pack` makes>"}
        context.account.send(Request("s3", "upload_file", shards))
        return
    folder = source if files else _pack(context, source)
    images = {
        prefix + file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    moved = upload(context.account, images, bucket=bucket, prefix=prefix)
    context.say(f"Images in s3://{bucket}/{prefix}: {moved.describe('sent')}")
    _remove_others(context, set(images), prefix=prefix)


def check_images(source: Path) -> None:
    """Refuse a folder without images: the upload would empty the bucket's.

    Raises
    ------
    UsageError
        Naming the folder and what it lacks.
    """
    # pyarrow comes along.
    from fruits.images.tree import ClassFolders

    advice = "name the folder that does, or: fruits fetch MODE. Nothing was sent or removed."
    if not any(source.glob("*.parquet")) and not ClassFolders(source).list_splits():
        raise UsageError(f"{source} holds no image in <split>/<class>/, such as Training/Kiwi/1.jpg; {advice}")


def input_prefix(context: Context) -> str:
    """Return where the runs of this bucket look for images: `input_dir` of `params/emr.yaml`."""
    file = context.params_file
    example = repository() / "params" / "emr.example.yaml"
    place = str(read_yaml(file if file.is_file() else example).get("input_dir", ""))
    key = place.partition("://")[2].partition("/")[2].strip("/")
    if not key.startswith(RAW):
        raise UsageError(f"{file}: input_dir = {place!r}: allowed: a folder below s3://{context.bucket}/{RAW}")
    return f"{key}/"


def ship_code(context: Context, *, weights: Path | None = None) -> None:
    """Bring what the nodes start from: the package, the repository, the scripts and the pinned environment."""
    if weights and not weights.is_file():
        raise UsageError(f"--weights: there is no file {weights}.")
    account, bucket = context.account, context.bucket
    check_place(context, bucket)
    if weights:
        name_weights(context, weights)
    archives = build_archives(repository(), params_file=context.params_file)
    for name, content in archives.items():
        request = Request("s3", "put_object", {"Bucket": bucket, "Key": CODE + name, "Body": content})
        account.send(request if not account.dry_run else _without_body(request))
    files = {CODE + name: _EMR / name for name in PLAIN}
    files |= {KERAS_MODELS + file.name: file for file in sorted(keras_cache().glob(_BACKBONE))}
    if weights:
        files[_WEIGHTS + weights.name] = weights
    upload(account, files, bucket=bucket, prefix=CODE)
    context.say(f"Code in s3://{bucket}/{CODE}: {len(archives) + len(files)} files.")


def name_weights(context: Context, weights: Path) -> None:
    """Write into `params/emr.yaml` where the file of weights lies for the cluster."""
    file, line = context.params_file, f"weights: s3://{context.bucket}/{_WEIGHTS}{weights.name}"
    if file.is_file() and not context.account.dry_run:
        text = re.sub(r"^weights:.*$", lambda _: line, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        folders.write_bytes(file, text.encode())
    context.say(f"In {file}: {line}")


def ship_model(context: Context) -> None:
    """Bring the flatbuffers that runs here have made, so that no node needs TensorFlow."""
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
        return
    moved = upload(context.account, found, bucket=context.bucket, prefix=MODELS)
    context.say(f"Models in s3://{context.bucket}/{MODELS}: {moved.describe('sent')}")


def ship_wheelhouse(context: Context, folder: Path) -> None:
    """Fetch the wheels of the nodes' environment and bring them to the bucket; no index is needed at boot then."""
    for machine in sorted({machine_of(kind) for kind, _, _ in context.settings.node_types}):
        fetch_wheels(folder, machine=machine)
    wheels = {f"{CODE}wheelhouse/{wheel.name}": wheel for wheel in sorted(folder.glob("*.whl"))}
    moved = upload(context.account, wheels, bucket=context.bucket, prefix=f"{CODE}wheelhouse/")
    context.say(f"Wheels: {moved.describe('sent')} Set wheelhouse: true in emr/cluster.yaml.")


def machine_of(kind: str) -> str:
    """Return the processor of an instance type; a g after the generation means Graviton."""
    return "aarch64" if re.match(r"[a-z]+\d+g", kind) else "x86_64"


def fetch_wheels(folder: Path, *, machine: str) -> None:
    """Download the pinned wheels for nodes of one processor, by pip, which checks their hashes.

    Raises
    ------
    FruitsError
        If pip cannot.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:"]
    # As in bootstrap.sh, where the last option is explained.
    command += ["--python-version=3.11", "--implementation=cp", f"--dest={folder}", "--ignore-requires-python"]
    command += [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
    done = subprocess.run([*command, "-r", str(_EMR / "requirements-worker.txt")], check=False)
    if done.returncode:
        raise FruitsError(f"pip could not fetch the wheels (exit {done.returncode}); see its lines above.")


def build_archives(root: Path, *, params_file: Path) -> dict[str, bytes]:
    """Zip the package for the executors, and the repository for the primary node; the same code, the same bytes."""
    package = {file.relative_to(root / "lib").as_posix(): file for file in _walk(root / "lib" / "fruits")}
    tree: dict[str, Path] = {}
    for folder in ("lib/fruits", "lib/fruits_cli", "notebooks", "params"):
        tree |= {file.relative_to(root).as_posix(): file for file in _walk(root / folder)}
    tree["pyproject.toml"] = root / "pyproject.toml"
    tree.pop("params/emr.yaml", None)
    if params_file.is_file():
        tree["params/emr.yaml"] = params_file
    return {"fruits.zip": _zip(package), "repository.zip": _zip(tree)}


def _walk(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and ".ipynb_checkpoints" not in file.parts:
            yield file


def _zip(files: dict[str, Path]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


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
    others = sorted(set(list_objects(context.account, context.bucket, prefix)) - wanted)
    if not others:
        return
    context.ask(f"Remove {len(others)} other objects from s3://{context.bucket}/{prefix} ({others[0]}, ...)?")
    delete_objects(context.account, context.bucket, others)


def _without_body(request: Request) -> Request:
    size = f"<{len(request.arguments['Body'])} bytes>"
    return Request(request.service, request.operation, dict(request.arguments) | {"Body": size})
