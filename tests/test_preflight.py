"""The checks before Spark starts."""

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import make_weights_file

from fruits import preflight
from fruits.errors import FruitsError, UsageError
from fruits.local import LocalFolder
from fruits.networks import DEFAULT
from fruits.ownership import describe_owner, write_marker
from fruits.params import RunParams, list_modes, load_params
from fruits.preflight import check_run

Make = Callable[..., RunParams]


KERAS_FILE = DEFAULT.file.format(size=DEFAULT.size)


@pytest.fixture
def make(fruit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the parameters of a run that is in order, but for the changes."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folders = {"input_dir": fruit_folder, "output_dir": tmp_path / "out", "report_dir": tmp_path / "reports"}
    texts = {name: str(folder) for name, folder in folders.items()}

    def change(**changes: Any) -> RunParams:
        params = load_params("MINI", "local")
        return dataclasses.replace(params, **(texts | {"weights": "random"} | changes))

    return change


def files(folder: Path) -> list[Path]:
    """Return all files but the lock of those who work in the folder."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".in-use"]


@pytest.mark.parametrize("changes", [{}, {"classes": ("Kiwi", "Apple*")}, {"split": "Test"}, {"max_images": 0}])
def test_run_in_order_passes_and_leaves_no_file(make: Make, changes: dict[str, Any]) -> None:
    params = make(**changes)
    check_run(params)
    assert params.path("output_dir").is_dir()
    assert files(params.path("output_dir")) + files(params.path("report_dir")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_dir": "/nowhere"}, "no folder /nowhere/Training"),
        ({"classes": ("Apple*", "Kiwy")}, "'Kiwy' matches none.*'Kiwi'"),
        ({"classes": ("Plum",)}, "Plum"),
        ({"input_dir": "s3://bucket/in"}, "s3://bucket/in cannot be listed: no keys to ask S3 with"),
        ({"output_dir": "s3://bucket/out"}, "s3://bucket/out cannot be listed"),
        ({"report_dir": "s3://bucket/rep"}, "s3://bucket/rep cannot be listed"),
        ({"target": "emr", "spark_master": ""}, "not one of its nodes. `scripts/aws_setup.sh run MINI`"),
        ({"weights": "s3://bucket/w.h5"}, "s3://bucket/w.h5 cannot be read: no keys to ask S3 with"),
        ({"weights": "/nowhere/w.h5"}, "no file /nowhere/w.h5"),
        ({"weights": __file__}, "cannot be read"),
        ({"target": "sample"}, "holds something else than our sample"),
        ({"against": "Validation"}, "there is no folder .*Validation"),
    ],
)
def test_wrong_place_is_refused_and_nothing_is_written(
    make: Make, fruit_folder: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fruit_folder / "Training/Plum").mkdir()
    monkeypatch.setattr(preflight, "has_session", lambda: False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    with pytest.raises(UsageError, match=message) as caught:
        check_run(make(**changes))
    assert "\n" not in str(caught.value)
    assert files(make().path("output_dir")) + files(make().path("report_dir")) == []


@pytest.mark.parametrize("session", [True, False])
def test_a_cluster_is_known_by_its_session_or_by_what_emr_writes_there(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: bool
) -> None:
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    monkeypatch.setattr(preflight, "has_session", lambda: session)
    (tmp_path / "job-flow.json").touch()
    monkeypatch.setattr(preflight, "EMR_NODE", tmp_path / ("none" if session else "job-flow.json"))
    check_run(make(target="emr", spark_master=""))


def test_a_file_in_the_place_of_a_folder_is_refused(make: Make, tmp_path: Path) -> None:
    for key in ("output_dir", "report_dir"):
        (tmp_path / "file").touch()
        with pytest.raises(FruitsError, match=f"{tmp_path}/file cannot be written"):
            check_run(make(**{key: str(tmp_path / "file")}))
    make().results_dir.parent.mkdir(parents=True, exist_ok=True)
    make().results_dir.write_text("a file")
    with pytest.raises(FruitsError, match="MINI"):
        check_run(make())


def test_folders_are_held_while_the_sample_is_rendered(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def try_to_clean(*_: Any, **__: Any) -> None:
        for folder in ("out", "reports", "images"):
            with (
                pytest.raises(FruitsError, match=f"a run is at work in {tmp_path}/{folder};"),
                LocalFolder(tmp_path / folder).held_alone(),
            ):
                pass
        tried.append(True)
        raise InterruptedError

    monkeypatch.setattr("fruits.images.sample.render_fruit", try_to_clean)
    with pytest.raises(InterruptedError):
        check_run(make(target="sample", input_dir=str(tmp_path / "images/sample")))
    assert tried


def test_broken_java_is_refused_unless_the_session_is_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(FruitsError, match="JAVA_HOME=/nowhere"):
        check_run(make())
    check_run(make(spark_master=""))


def test_weights_that_are_there_pass_without_network(make: Make, tmp_path: Path) -> None:
    for name in ("own.h5", f"keras/models/{KERAS_FILE}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(make_weights_file())
    check_run(make(weights=str(tmp_path / "own.h5")))
    check_run(make(weights="imagenet"))


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ({"target": "sample"}, "replaces the results"),
        ({"input_dir": "/x"}, "replaces the results"),
        ({}, "takes over the results of an earlier version"),
    ],
)
def test_results_of_another_run_are_kept_unless_they_may_be_replaced(
    make: Make, fruit_folder: Path, owner: dict[str, str], said: str
) -> None:
    folder = make().results_dir
    folder.mkdir(parents=True)
    text = json.dumps({"target": "local", "input_dir": str(fruit_folder)} | owner)
    (folder / "run.json").write_text(text)
    if owner:
        with pytest.raises(UsageError, match="--replace"):
            check_run(make())
    assert said in check_run(make(replace=bool(owner)))[0]
    assert [file.read_text() for file in files(folder)] == [text]


def test_what_no_run_put_there_is_never_replaced(make: Make) -> None:
    for folder in (make().results_dir, make().report_folder):
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_text("mine")
        with pytest.raises(UsageError, match=rf"{folder} .*'thesis\.txt'"):
            check_run(make(replace=True), replaces_report=True)
        (folder / "thesis.txt").unlink()
    assert check_run(make(), replaces_report=True) == []


def test_a_model_is_known_before_spark_starts(make: Make, tmp_path: Path) -> None:
    weights = tmp_path / "own.h5"
    weights.write_bytes(make_weights_file())
    own = make(weights=str(weights))
    write_marker(own.results_dir, owner=describe_owner(own, model_id="mobilenetv2-litert-000000000000"))
    with pytest.raises(UsageError, match=r"model_id = mobilenetv2-litert-000000000000; this run is of model_id = mob"):
        check_run(own)
    assert len(check_run(dataclasses.replace(own, replace=True))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_dir": "T/data/MINI", "output_dir": "T/data"}, "folder of the results, .*MINI, is the input"),
        ({"input_dir": "T/data/MINI/images", "output_dir": "T/data"}, "folder of the results, .* holds the input"),
        ({"input_dir": "T/data", "output_dir": "T/data"}, "input_dir = .* and output_dir = .* are one folder"),
        (
            {"input_dir": "T/data", "output_dir": "T/x/../data/out"},
            "folder of the results, .* lies inside the input",
        ),
        ({"input_dir": "T/d/models/images", "output_dir": "T/d"}, "folder of the models, .* holds the input"),
        ({"input_dir": "T/d/features", "output_dir": "T/d"}, "folder of the features, .* is the input"),
        ({"input_dir": "T/r/local/MINI", "report_dir": "T/r"}, "folder of the report, .* is the input"),
        ({"input_dir": "T/r/local", "report_dir": "T/r"}, "folder of the report, .* lies inside the input"),
        ({"input_dir": "T/link/MINI", "output_dir": "T/real"}, "folder of the results, .* is the input"),
        ({"input_dir": "T/real/MINI", "output_dir": "T/link"}, "folder of the results, .* is the input"),
        ({"output_dir": "T/R/local", "report_dir": "T/R"}, "folder of the results, .* is the report"),
        ({"output_dir": "T/R/local/MINI", "report_dir": "T/R"}, "folder of the results, .* lies inside the report"),
        ({"output_dir": "T/R", "report_dir": "T/R/MINI"}, "folder of the results, .* holds the report"),
        ({"output_dir": "T/R", "report_dir": "T/R/features/x"}, "folder of the features, .* holds the report"),
        ({"output_dir": "T/link", "report_dir": "T/real"}, "output_dir = .* and report_dir = .* are one folder"),
        ({"output_dir": "T/o", "weights": "T/o/MINI/w.h5"}, "folder of the results, .* holds the weights"),
        ({"report_dir": "T/r", "weights": "T/r/local/MINI/w.h5"}, "folder of the report, .* holds the weights"),
        ({"input_dir": "s3://b/data/MINI", "output_dir": "S3A://b/data/"}, "folder of the results, .* is the input"),
        ({"output_dir": "s3://b/r/local", "report_dir": "s3://b/r"}, "folder of the results, .* is the report"),
    ],
)
def test_places_that_a_write_to_one_could_hit_are_refused_first(
    make: Make, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    places = {key: text.replace("T/", f"{tmp_path}/") for key, text in changes.items()}
    before = sorted(tmp_path.rglob("*"))
    for replace in (False, True):
        with pytest.raises(UsageError, match=message) as caught:
            check_run(make(**places, replace=replace))
        assert "--replace" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("mode", "target", "changes"),
    [
        *((mode, target, {}) for mode in list_modes() for target in ("sample", "local")),
        ("MINI", "local", {"input_dir": "s3://b/data/raw/f", "output_dir": "s3://b/data", "report_dir": "s3://b/rep"}),
        ("MINI", "local", {"output_dir": "/x/o", "report_dir": "/x/o/reports", "input_dir": "/x/o/images"}),
        ("MINI", "local", {"output_dir": "/x", "weights": "/x/models/w.h5", "report_dir": "/y"}),
        ("MINI", "local", {"input_dir": "/x/data", "output_dir": "/x/data2", "report_dir": "s3://x/data"}),
    ],
)
def test_places_that_are_apart_pass(mode: str, target: str, changes: dict[str, Any]) -> None:
    preflight.check_apart(dataclasses.replace(load_params(mode, target), **changes))


@pytest.fixture
def local(make: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the parameters of a run that starts a local Spark."""
    monkeypatch.setattr(preflight, "has_session", lambda: False)
    return make


def test_temporary_folder_with_comma_or_colon_is_refused_for_local_spark_only(
    local: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a,b", "12:30"):
        monkeypatch.setattr("tempfile.tempdir", f"/x/{name}")
        with pytest.raises(UsageError, match=f"TMPDIR=/x/{name}: .* name another"):
            check_run(local())
        check_run(local(spark_master="yarn"))


def test_full_or_missing_temporary_folder_is_refused(local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match="1 MiB free, and Spark needs 64; free some space, or set TMPDIR"):
        check_run(local())
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(UsageError, match=r"No usable temporary directory found.*; set TMPDIR"):
        check_run(local())


@pytest.mark.skipif(not hasattr(os, "ST_NOEXEC"), reason="Linux only")
def test_temporary_folder_without_programs_is_refused(
    local: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(UsageError, match=f"temporary folder {tmp_path} is mounted with noexec, .*; set TMPDIR"):
        check_run(local())


@pytest.mark.parametrize("metadata", [False, True])
def test_another_pyspark_is_refused(
    local: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata: bool
) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark/__init__.py").touch()
    if metadata:  # as `pip install --target` leaves it
        (tmp_path / "pyspark-4.1.1.dist-info").mkdir()
        (tmp_path / "pyspark-4.1.1.dist-info/METADATA").write_text("Name: pyspark\nVersion: 4.1.1\n")
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=f"PySpark would be imported from {tmp_path}/pyspark, .*PYTHONPATH"):
        check_run(local())


def test_executors_need_a_user_with_a_name(local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    check_run(local())
    with pytest.raises(UsageError, match="user 2147483646 has no name"):
        check_run(local(spark_master="local-cluster[1,1,1024]"))


def test_python_that_prints_at_its_start_is_refused(
    local: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"prints 'hello\\n' whenever it starts.*sitecustomize\.py"):
        check_run(local())
