"""Paths that Hadoop would read its own way."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.ml.feature import PCAModel
from pyspark.sql import SparkSession

from fruits.errors import UsageError
from fruits.folders import as_folder, check_spelling, readable_by_spark
from fruits.pca import Components, to_spark_model

NAMES = ["run 12:30", "trail: ", "a,b", "a{b,c}[d]", "100% a%20b #1?", "été 漢 🍎", "back\\slash*", "${HOME}"]


def test_spark_writes_and_reads_folders_of_any_name(spark: SparkSession, tmp_path: Path) -> None:
    components = Components(
        count=5, requested=1, mean=np.zeros(2), vectors=np.eye(2)[:, :1], all_shares=np.array([0.9, 0.1])
    )
    (tmp_path / "12:30").mkdir()  # a colon beside it fails Spark as well, if it has to list the folder
    for name in NAMES:
        to_spark_model(spark, components).save(as_folder(tmp_path / name).uri)
        with readable_by_spark(tmp_path / name, here=True) as place:
            assert PCAModel.load(place).pc.numRows == 2, name
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, "12:30"}


def test_elsewhere_a_link_leads_nowhere() -> None:
    with readable_by_spark(Path("/a,b/[c]"), here=False) as place:
        assert place == r"file:///a?b/\[c\]"


@pytest.mark.parametrize("here", [True, False])
def test_names_that_spark_cannot_be_told_are_refused(here: bool) -> None:
    check_spelling(Path("/plain é"), key="output_dir", here=here)
    with pytest.raises(UsageError, match=r"output_dir = .*udce9.* LC_ALL=C.UTF-8"):
        check_spelling(Path("/x\udce9"), key="output_dir", here=here)


def test_a_colon_is_refused_where_no_link_helps() -> None:
    check_spelling(Path("/run 12:30"), key="output_dir", here=True)
    with pytest.raises(UsageError, match=r"output_dir = /run 12:30: .*colon"):
        check_spelling(Path("/run 12:30"), key="output_dir", here=False)
