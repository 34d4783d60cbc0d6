"""Everything that can be refused before Spark starts, is refused here."""

import os
from collections.abc import Callable
from itertools import combinations

from fruits import emr_node, folders, locks, ownership, places
from fruits.errors import UsageError
from fruits.features.model import find_model_id
from fruits.images.listing import check_classes
from fruits.images.sample import ensure_sample
from fruits.java import find_java_home
from fruits.jvm import check_private
from fruits.params import RunParams, find_repository
from fruits.session import find_s3_jars, has_session, is_local
from fruits.spelling import check_spelling

_PLACES = ("input_dir", "output_dir", "report_dir")


def check_run(params: RunParams, *, replaces_report: bool = False) -> list[str]:
    """Check that a run can begin: folders, images, weights, Java, ownership of the results; hold its folders.

    The sample is rendered and ImageNet weights are downloaded where they are asked for and not there yet.

    Parameters
    ----------
    replaces_report
        The report is to be replaced, as a command does: check its ownership, too.

    Returns
    -------
    list of str
        Sentences that whoever starts the run should read, such as what it replaces.

    Raises
    ------
    FruitsError
        One sentence that says what was got, what is allowed and what to do.
    """
    check_apart(params)
    check_place(params)
    input_dir, output_dir = params.path("input_dir"), params.path("output_dir")
    _check_owners(params, ownership.refuse_others, report=replaces_report)
    _check_spark(params)
    if params.target != "sample":
        check_classes(input_dir, split=params.split, classes=params.classes)
    for folder in (output_dir, params.path("report_dir")):
        folders.check_writable(folder)
        if not folders.is_remote(folder):  # nothing there can be locked, and `fruits clean` does not go there
            locks.hold_folder(folder)
    if params.target == "sample":
        # Only now: `fruits clean` would take its draft for a leftover if nobody held the folder.
        ensure_sample(input_dir)
        check_classes(input_dir, split=params.split, classes=params.classes)
    models, base = output_dir / "models", find_repository()
    model_id = find_model_id(params.weights, engine=params.engine, seed=params.seed, folder=models, base=base)
    return _check_owners(params, ownership.check_owner, report=replaces_report, model_id=model_id)


def _check_spark(params: RunParams) -> None:
    master = params.spark_master
    if master:
        find_java_home()
    if is_local(master) and not has_session():
        check_private(cluster=master.startswith("local-cluster"))
    for key in _PLACES:
        check_spelling(params.path(key), key=key, here=is_local(master))


def _check_owners(
    params: RunParams, check: Callable[..., list[str]], *, report: bool, model_id: str | None = None
) -> list[str]:
    kinds = {ownership.RESULTS: params.results_dir} | ({ownership.REPORT: params.report_folder} if report else {})
    owner = ownership.describe_owner(params, model_id=model_id)
    found = [check(kinds[kind], kind, owner=owner, replace=params.replace) for kind in kinds]
    return [note for notes in found for note in notes]


def check_apart(params: RunParams) -> None:
    """Refuse places so equal or nested that what is written to one could hit another.

    Raises
    ------
    UsageError
        Naming the two places.
    """
    named = {key: params.path(key) for key in _PLACES}
    for (one, left), (other, right) in combinations(named.items(), 2):
        if places.relate(left, right) == "is":
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
        file = folders.resolve(params.weights, base=find_repository())
        pairs += [((what, written[what]), ("weights", file)) for what in ("results", "report")]
    for (what, folder), (other, place) in pairs:
        if how := places.relate(folder, place):
            raise UsageError(
                f"the folder of the {what}, {folder}, {how} the {other} ({place}): what is written to one could hit "
                "the other. Choose another output_dir or report_dir, so that they lie apart."
            )


def check_place(params: RunParams) -> None:
    """Refuse what this machine cannot reach: the cluster from outside it, and S3 without what Spark or keys need.

    Raises
    ------
    FruitsError
        With the command that helps, or what S3 answered.
    """
    if params.target == "emr" and not params.spark_master and not _is_on_cluster():
        raise UsageError(
            f"target emr takes the Spark of an EMR cluster, and this machine is none of its nodes; "
            f"`scripts/aws_setup.sh run {params.mode}` runs it there, --target local here."
        )
    remote = {key: getattr(params, key) for key in _PLACES if folders.is_remote(getattr(params, key))}
    if remote and params.spark_master and not find_s3_jars():
        key, location = next(iter(remote.items()))
        raise UsageError(
            f"{key} = {location} lies in S3, which Spark on this machine cannot reach yet; "
            "`make s3` fetches what it needs, or name a local folder."
        )
    if params.target == "sample" and "input_dir" in remote:
        raise UsageError(f"input_dir = {params.input_dir}: the sample is drawn on this machine; name a local folder.")
    for key in remote:
        folders.check_listable(params.path(key))


def _is_on_cluster() -> bool:
    """Tell whether Spark is somebody else's here: EMR's, Livy's, or that of whom says how to submit (`emr/step.sh`)."""
    return emr_node.EMR_NODE.exists() or "PYSPARK_SUBMIT_ARGS" in os.environ or has_session()
