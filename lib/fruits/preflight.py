"""Everything that can be refused before Spark starts, is refused here."""

from fruits import locks, storage
from fruits.features.weights import find_weights
from fruits.images.listing import check_classes
from fruits.images.sample import ensure_sample
from fruits.java import find_java_home
from fruits.marker import check_owner
from fruits.params import RunParams, repository


def check_run(params: RunParams) -> None:
    """Check that a run can begin: folders, images, weights, Java, ownership of the results; hold its folders.

    The sample is rendered and ImageNet weights are downloaded where they are asked for and not there yet.

    Raises
    ------
    FruitsError
        One sentence that says what was got, what is allowed and what to do.
    """
    input_dir = params.path("input_dir")
    check_owner(params.results_dir, target=params.target, input_dir=input_dir, replace=params.replace)
    if params.spark_master:
        find_java_home()
    if params.target != "sample":
        check_classes(input_dir, split=params.split, classes=params.classes)
    for folder in (params.path("output_dir"), params.path("report_dir")):
        storage.check_writable(folder)
        locks.hold_folder(folder)
    if params.target == "sample":
        # Only now: `fruits clean` would take its draft for a leftover if nobody held the folder.
        ensure_sample(input_dir)
        check_classes(input_dir, split=params.split, classes=params.classes)
    find_weights(params.weights, base=repository())
