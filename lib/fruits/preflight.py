"""All checks that are possible before Spark starts."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from itertools import combinations
from pathlib import Path

from fruits import ownership
from fruits.errors import UsageError
from fruits.features.model import find_model_id
from fruits.folders import as_folder, check_spelling, relate, resolve
from fruits.images import open_images
from fruits.images.sample import ensure_sample
from fruits.java import find_java_home, has_user_name
from fruits.params import RunParams, find_repository
from fruits.s3 import S3Folder
from fruits.session import EMR_NODE, find_pyspark, find_s3_jars, has_session, is_local

_PLACES = ("input_dir", "output_dir", "report_dir")
# Spark needs this for the copies of the model and the tables that it sends to workers.
TEMPORARY_BYTES = 64 * 2**20


def check_run(params: RunParams, *, replaces_report: bool = False) -> list[str]:
    """Check folders, images, weights, Java and the owner of the results; lock the folders of the run.

    Renders the sample and downloads the ImageNet weights if the run needs them and they are missing.

    Parameters
    ----------
    replaces_report
        Check the owner of the report, too; `fruits run` replaces it.

    Returns
    -------
    list of str
        Sentences for the user, such as what the run replaces.

    Raises
    ------
    FruitsError
        At the first check that fails.
    """
    check_apart(params)
    check_place(params)
    input_dir, output_dir = params.path("input_dir"), params.path("output_dir")
    _check_owners(params, report=replaces_report)
    _check_spark(params)
    if params.target != "sample":
        _check_images(params)
    for folder in (output_dir, params.path("report_dir")):
        as_folder(folder).check_writable()
        as_folder(folder).hold()
    if params.target == "sample":
        # After the lock: without it, `fruits clean` would remove the draft of the sample.
        ensure_sample(input_dir)
        _check_images(params)
    models, base = output_dir / "models", find_repository()
    model_id = find_model_id(params.weights, **params.model_settings, folder=models, base=base)
    kinds = _list_kinds(params, report=replaces_report)
    edited = [note for kind, folder in kinds.items() for note in ownership.list_edited(folder, kind)]
    return [*edited, *_check_owners(params, report=replaces_report, model_id=model_id)]


def _check_images(params: RunParams) -> None:
    source = open_images(params.path("input_dir"))
    source.check_classes(split=params.split, classes=params.classes)
    if params.evaluate and params.against:
        source.check_classes(split=params.against, classes=["*"])


def _check_spark(params: RunParams) -> None:
    master = params.spark_master
    if master:
        find_java_home()
    if is_local(master) and not has_session():
        _check_local_spark(cluster=master.startswith("local-cluster"))
    for key in _PLACES:
        check_spelling(params.path(key), key=key, here=is_local(master))


def _check_local_spark(*, cluster: bool) -> None:
    """Refuse another PySpark, a Python that prints, an unusable temporary folder; for executor JVMs, no user name."""
    try:
        own = distribution("pyspark").locate_file("pyspark")
    except PackageNotFoundError:
        own = find_pyspark()
    if not find_pyspark().samefile(str(own)):
        raise UsageError(
            f"PySpark would be imported from {find_pyspark()}, not from this environment; remove that folder from "
            "PYTHONPATH."
        )
    if text := subprocess.run([sys.executable, "-c", ""], capture_output=True, text=True, check=False).stdout:
        raise UsageError(
            f"this Python prints {text[:60]!r} whenever it starts, which breaks the protocol of Spark's workers; "
            "remove that from sitecustomize.py (see PYTHONPATH) or from the .pth file that does it."
        )
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(f"{error.strerror}; set TMPDIR to a folder that can be written.") from error
    if "," in folder or ":" in folder:
        raise UsageError(f"TMPDIR={folder}: Spark allows no comma and no colon there; name another folder.")
    if (free := shutil.disk_usage(folder).free) < TEMPORARY_BYTES:
        raise UsageError(
            f"the temporary folder {folder} has {free / 2**20:.0f} MiB free, and Spark needs "
            f"{TEMPORARY_BYTES / 2**20:.0f}; free some space, or set TMPDIR to another folder."
        )
    if cluster and not has_user_name():
        raise UsageError(
            f"user {os.getuid()} has no name on this system, and the executors of local-cluster need one; set "
            "spark_master to local[*], or add the user (useradd)."
        )


def _check_owners(params: RunParams, *, report: bool, model_id: str | None = None) -> list[str]:
    owner = ownership.describe_owner(params, model_id=model_id)
    kinds = _list_kinds(params, report=report)
    found = [ownership.check_owner(kinds[kind], kind, owner=owner, replace=params.replace) for kind in kinds]
    return [note for notes in found for note in notes]


def _list_kinds(params: RunParams, *, report: bool) -> dict[ownership.Kind, Path]:
    return {ownership.RESULTS: params.results_dir} | ({ownership.REPORT: params.report_folder} if report else {})


def check_apart(params: RunParams) -> None:
    """Refuse folders of a run that are equal or nested, so that no write to one changes another."""
    named = {key: params.path(key) for key in _PLACES}
    for (one, left), (other, right) in combinations(named.items(), 2):
        if relate(left, right) == "is":
            raise UsageError(f"{one} = {left} and {other} = {right} are one folder; name a folder for each.")
    written = {
        "results": params.results_dir,
        "features": named["output_dir"] / "features",
        "models": named["output_dir"] / "models",
        "report": params.report_folder,
    }
    pairs = [((what, folder), ("input", named["input_dir"])) for what, folder in written.items()]
    pairs += combinations(written.items(), 2)
    if params.weights not in {"imagenet", "random"}:
        file = resolve(params.weights, base=find_repository())
        pairs += [((what, written[what]), ("weights", file)) for what in ("results", "report")]
    for (what, folder), (other, place) in pairs:
        if how := relate(folder, place):
            raise UsageError(
                f"the folder of the {what}, {folder}, {how} the {other} ({place}): a write to one could change the "
                "other. Choose another output_dir or report_dir, outside of it."
            )


def check_place(params: RunParams) -> None:
    """Refuse what this machine cannot reach: the EMR cluster from outside, and S3 without jars or keys."""
    if params.target == "emr" and not params.spark_master and not _is_on_cluster():
        raise UsageError(
            f"target emr needs the Spark of an EMR cluster, and this machine is not one of its nodes. "
            f"`scripts/aws_setup.sh run {params.mode}` runs it there; --target local runs it here."
        )
    remote = {key: getattr(params, key) for key in _PLACES if isinstance(as_folder(params.path(key)), S3Folder)}
    if remote and params.spark_master and not find_s3_jars():
        key, location = next(iter(remote.items()))
        raise UsageError(
            f"{key} = {location} is in S3, which Spark on this machine cannot reach yet. "
            "Run `make s3`, which fetches what Spark needs, or name a local folder."
        )
    if params.target == "sample" and "input_dir" in remote:
        raise UsageError(
            f"input_dir = {params.input_dir}: target sample makes its images on this machine; name a local folder."
        )
    for key in remote:
        as_folder(params.path(key)).check_listable()


def _is_on_cluster() -> bool:
    """Return whether this process gets its Spark from EMR, from Livy, or from `emr/step.sh` (the variable)."""
    return EMR_NODE.exists() or "PYSPARK_SUBMIT_ARGS" in os.environ or has_session()
