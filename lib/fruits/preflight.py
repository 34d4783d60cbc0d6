"""All checks that are possible before Spark starts."""

import os
from itertools import combinations
from pathlib import Path

from fruits import ownership
from fruits.errors import UsageError
from fruits.features.model import find_model_id
from fruits.folders import as_folder, check_spelling, relate, resolve
from fruits.images import open_images
from fruits.images.sample import ensure_sample
from fruits.java import find_java_home
from fruits.machine import check_python, find_temporary_folder
from fruits.params import RunParams, find_repository
from fruits.s3 import S3Folder
from fruits.session import EMR_NODE, has_session, is_local

_PLACES = ("input_dir", "output_dir", "report_dir")


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
        check_python(cluster=master.startswith("local-cluster"))
        find_temporary_folder()


def _check_owners(params: RunParams, *, report: bool, model_id: str | None = None) -> list[str]:
    owner = ownership.describe_owner(params, model_id=model_id)
    kinds = _list_kinds(params, report=report)
    found = [ownership.check_owner(kinds[kind], kind, owner=owner, replace=params.replace) for kind in kinds]
    return [note for notes in found for note in notes]


def _list_kinds(params: RunParams, *, report: bool) -> dict[ownership.Kind, Path]:
    return {ownership.RESULTS: params.results_dir} | ({ownership.REPORT: params.report_folder} if report else {})


def check_apart(params: RunParams) -> None:
    """Refuse folders of a run that cannot be named, and those that are equal or nested: no write may change another."""
    named = {key: params.path(key) for key in _PLACES}
    for key, folder in named.items():
        check_spelling(folder, key=key)
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
    """Refuse what this machine cannot reach: the EMR cluster from outside, and what `check_s3` refuses."""
    if params.target == "emr" and not params.spark_master and not _is_on_cluster():
        raise UsageError(
            f"target emr needs the Spark of an EMR cluster, and this machine is not one of its nodes. "
            f"`scripts/aws_setup.sh run {params.mode}` runs it there; --target local runs it here."
        )
    check_s3(params)


def check_s3(params: RunParams) -> list[str]:
    """Return the folders of a run that are in S3; refuse them without keys, and if they cannot be listed."""
    remote = {key: getattr(params, key) for key in _PLACES if isinstance(as_folder(params.path(key)), S3Folder)}
    if params.target == "sample" and "input_dir" in remote:
        raise UsageError(
            f"input_dir = {params.input_dir}: target sample makes its images on this machine; name a local folder."
        )
    for key in remote:
        as_folder(params.path(key)).check_listable()
    return [*remote.values()]


def _is_on_cluster() -> bool:
    """Return whether this process gets its Spark from EMR, from Livy, or from `emr/step.sh` (the variable)."""
    return EMR_NODE.exists() or "PYSPARK_SUBMIT_ARGS" in os.environ or has_session()
