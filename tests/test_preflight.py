"""What a run is refused for before Spark starts."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_weights_file

from fruits import preflight
from fruits.errors import FruitsError, UsageError
from fruits.features.weights import KERAS_FILE
from fruits.locks import alone_in_folder
from fruits.params import RunParams, load_params
from fruits.preflight import check_run

Make = Callable[..., RunParams]


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
        ({"input_dir": "s3://bucket/in"}, "input_dir = s3://bucket/in lies in S3, .*`make s3`"),
        ({"output_dir": "s3://bucket/out"}, "output_dir = s3://bucket/out lies in S3"),
        ({"report_dir": "s3://bucket/rep"}, "report_dir = s3://bucket/rep lies in S3"),
        ({"target": "emr", "spark_master": ""}, "none of its nodes; `scripts/aws_setup.sh run MINI`"),
        ({"weights": "s3://bucket/w.h5"}, "s3://bucket/w.h5 cannot be read: no keys to ask S3 with"),
        ({"weights": "/nowhere/w.h5"}, "no file /nowhere/w.h5"),
        ({"weights": __file__}, "cannot be read"),
        ({"target": "sample"}, "holds something else than our sample"),
    ],
)
def test_wrong_place_is_refused_and_nothing_is_written(
    make: Make, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "find_s3_jars", list)
    monkeypatch.setattr(preflight, "has_session", lambda: False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    with pytest.raises(UsageError, match=message) as caught:
        check_run(make(**changes))
    assert "\n" not in str(caught.value)
    assert files(make().path("output_dir")) + files(make().path("report_dir")) == []


def test_cluster_is_known_by_what_emr_writes_there(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job-flow.json").touch()
    monkeypatch.setattr(preflight.cluster, "EMR_NODE", tmp_path / "job-flow.json")
    check_run(make(target="emr", spark_master=""))


def test_a_session_that_is_there_is_the_clusters(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    monkeypatch.setattr(preflight, "has_session", lambda: True)
    check_run(make(target="emr", spark_master=""))


def test_folder_that_cannot_be_written_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for key in ("output_dir", "report_dir"):
        with pytest.raises(FruitsError, match=f"{tmp_path}/file cannot be written"):
            check_run(make(**{key: str(tmp_path / "file")}))


def test_class_without_images_is_refused(make: Make, fruit_folder: Path) -> None:
    (fruit_folder / "Training/Plum").mkdir()
    with pytest.raises(UsageError, match="Plum"):
        check_run(make(classes=("Plum",)))


def test_folders_are_held_while_the_sample_is_rendered(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def try_to_clean(*_: Any, **__: Any) -> None:
        for folder in ("out", "reports", "images"):
            with (
                pytest.raises(FruitsError, match=f"a run is at work in {tmp_path}/{folder};"),
                alone_in_folder(tmp_path / folder),
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
    "owner",
    [
        '{"target": "sample", "input_dir": "INPUT"}',
        '{"target": "local", "input_dir": "/other"}',
        '{"target": "local"}',
        "{}",
        "[]",
        "no JSON",
        None,
    ],
)
def test_results_of_another_run_are_kept_unless_they_may_be_replaced(
    make: Make, fruit_folder: Path, owner: str | None
) -> None:
    folder = make().results_dir
    folder.mkdir(parents=True)
    text = (owner or "something").replace("INPUT", str(fruit_folder))
    (folder / ("run.json" if owner else "table.csv")).write_text(text)
    with pytest.raises(UsageError, match="--replace"):
        check_run(make())
    check_run(make(replace=True))
    assert [file.read_text() for file in files(folder)] == [text]


def test_own_results_may_be_made_again(make: Make, fruit_folder: Path) -> None:
    folder = make().results_dir
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"target": "local", "input_dir": str(fruit_folder)}))
    check_run(make())


def test_file_in_the_place_of_the_results_is_refused(make: Make) -> None:
    make().results_dir.parent.mkdir(parents=True)
    make().results_dir.write_text("a file")
    with pytest.raises(FruitsError, match="MINI"):
        check_run(make())
