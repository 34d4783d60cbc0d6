"""Images up, results down, against moto: nothing twice, nothing half, nothing else's."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud import BUCKET, Cloud
from emr import etag, transfer
from emr.account import Account
from emr.cli import SETTINGS_FILE, _open
from emr.request import Request
from emr.shipment import ship_code
from emr.state import STATE_FILE

from fruits.errors import FruitsError, UsageError
from fruits.networks import DEFAULT
from fruits.ownership import write_marker

KERAS_FILE = DEFAULT.file.format(size=DEFAULT.size)
pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)
RAW = "data/raw/fruits-360/"


def uploads(cloud: Cloud, *arguments: str) -> str:
    done = cloud.run("upload-dataset", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def test_images_are_packed_first(with_bucket: Cloud, fruit_folder: Path) -> None:
    out = uploads(with_bucket, str(fruit_folder))
    assert with_bucket.keys(RAW) == {f"{RAW}images-00000.parquet"}
    assert "1 sent, 0 were there; all verified" in out
    assert "0 sent, 1 were there; all verified" in uploads(with_bucket, str(fruit_folder))


def test_images_go_as_they_are_if_asked(with_bucket: Cloud, fruit_folder: Path) -> None:
    (fruit_folder / "Training" / "Kiwi" / "Pêche d'été 1.jpg").write_bytes(b"not an image")
    out = uploads(with_bucket, str(fruit_folder), "--files")
    here = {RAW + file.relative_to(fruit_folder).as_posix() for file in fruit_folder.rglob("*") if file.is_file()}
    assert with_bucket.keys(RAW) == here
    assert "13 sent" in out


def test_an_upload_goes_on_where_it_stopped(with_bucket: Cloud, fruit_folder: Path) -> None:
    uploads(with_bucket, str(fruit_folder), "--files")
    s3 = with_bucket.client("s3")
    s3.delete_object(Bucket=BUCKET, Key=f"{RAW}Training/Kiwi/0_100.jpg")
    s3.put_object(Bucket=BUCKET, Key=f"{RAW}Training/Kiwi/1_100.jpg", Body=b"half")
    assert "2 sent, 10 were there; all verified" in uploads(with_bucket, str(fruit_folder), "--files")


def test_shards_and_files_are_never_there_together(with_bucket: Cloud, fruit_folder: Path) -> None:
    uploads(with_bucket, str(fruit_folder), "--files")
    uploads(with_bucket, str(fruit_folder))
    assert with_bucket.keys(RAW) == {f"{RAW}images-00000.parquet"}


def test_code_model_and_weights_travel_along(with_bucket: Cloud, fruit_folder: Path) -> None:
    model = with_bucket.home / "data" / "models" / "abcd-1234"
    model.mkdir(parents=True)
    for name in ("model.json", "model.tflite", "weights.npz"):
        (model / name).write_bytes(name.encode())
    (with_bucket.home / "data/models/random-42").mkdir()
    (with_bucket.home / "data/models/random-42/model.json").write_text("{}")
    keras = with_bucket.home / "keras/models" / KERAS_FILE
    keras.parent.mkdir(parents=True)
    keras.write_bytes(b"h5")
    weights = with_bucket.home / "mine.h5"
    weights.write_bytes(b"h5")
    out = uploads(with_bucket, str(fruit_folder), "--files", "--weights", str(weights))
    assert with_bucket.keys("data/models/") - {"data/models/"} == {
        f"data/models/abcd-1234/{name}" for name in ("model.json", "model.tflite", "weights.npz")
    }
    assert {"code/bootstrap.sh", "code/step.sh", "code/requirements-worker.txt", "code/weights/mine.h5"} <= (
        with_bucket.keys("code/")
    )
    assert f"code/keras/models/{keras.name}" in with_bucket.keys("code/")
    assert f"weights: s3://{BUCKET}/code/weights/mine.h5" in out
    values = yaml.safe_load((with_bucket.home / "params/emr.yaml").read_text())
    assert values["weights"] == f"s3://{BUCKET}/code/weights/mine.h5"


def test_the_hubs_notebook_waits_where_its_user_finds_it(with_bucket: Cloud, fruit_folder: Path) -> None:
    keras = with_bucket.home / "keras/models" / KERAS_FILE
    keras.parent.mkdir(parents=True)
    keras.write_bytes(b"h5")
    key = {"Bucket": BUCKET, "Key": "jupyter/jovyan/emr_jupyterhub.ipynb"}
    assert "which JupyterHub shows as emr_jupyterhub.ipynb" in uploads(with_bucket, str(fruit_folder), "--files")
    s3 = with_bucket.client("s3")
    text = s3.get_object(**key)["Body"].read().decode()
    assert f"s3://{BUCKET}/data/raw/fruits-360" in text
    # Livy's session has no Keras to download weights: it copies these.
    assert f"s3://{BUCKET}/code/keras/models/{KERAS_FILE}" in text
    assert "s3://BUCKET" not in text
    s3.put_object(**key, Body=b"edited")
    assert "stays as it was saved; delete it" in uploads(with_bucket, str(fruit_folder), "--files")
    assert s3.get_object(**key)["Body"].read() == b"edited"


def test_a_missing_model_is_told(with_bucket: Cloud, fruit_folder: Path) -> None:
    assert "No prepared model is here" in uploads(with_bucket, str(fruit_folder), "--files")


def test_a_folder_without_images_is_refused(with_bucket: Cloud, tmp_path: Path) -> None:
    done = with_bucket.run("upload-dataset", str(tmp_path))
    assert done.code == 2
    assert f"{tmp_path} holds no image in <split>/<class>/" in done.err


@pytest.mark.parametrize("arguments", [["--files"], []])
def test_an_upload_without_an_image_removes_nothing(
    with_bucket: Cloud, fruit_folder: Path, tmp_path: Path, arguments: list[str]
) -> None:
    uploads(with_bucket, str(fruit_folder), "--files")
    before = with_bucket.keys()
    empty = tmp_path / "empty"
    (empty / "Training" / "Kiwi").mkdir(parents=True)
    (empty / "Training" / "Kiwi" / "notes.txt").touch()
    done = with_bucket.run("upload-dataset", str(empty), *arguments)
    assert done.code == 2
    assert f"{empty} holds no image" in done.err
    assert with_bucket.keys() == before


def test_objects_that_are_not_deleted_are_told(
    with_bucket: Cloud, fruit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bucket.client("s3").put_object(Bucket=BUCKET, Key=f"{RAW}Training/old.jpg", Body=b"x")
    send = Account.send

    def refuse(self: Account, request: Request, *, planned: dict[str, Any] | None = None) -> dict[str, Any]:
        if request.operation == "delete_objects":
            return {"Errors": [{"Key": f"{RAW}Training/old.jpg", "Code": "AccessDenied", "Message": "no"}]}
        return send(self, request, planned=planned)

    monkeypatch.setattr(Account, "send", refuse)
    done = with_bucket.run("upload-dataset", str(fruit_folder), "--files")
    assert done.code == 1
    assert f"1 of 1 objects could not be deleted from s3://{BUCKET}, such as {RAW}Training/old.jpg" in done.err
    assert "AccessDenied: no" in done.err


def test_a_run_sends_no_code_out_of_the_eu(with_bucket: Cloud) -> None:
    import boto3

    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="in-virginia")
    (with_bucket.home / STATE_FILE).write_text('{"bucket": "in-virginia"}')
    context = _open(dry_run=False, yes=True, overrides=(), settings_file=SETTINGS_FILE)
    with pytest.raises(UsageError, match="in-virginia"):
        ship_code(context)
    assert "Contents" not in s3.list_objects_v2(Bucket="in-virginia")


def put_results(cloud: Cloud) -> dict[str, bytes]:
    results = {
        "data/MINI/pca/csv/pca.csv": b"path,label\n",
        "data/MINI/metadata/metadata.csv": b"path\n",
        "data/APPLES/pca/csv/pca.csv": b"apples",
        "data/features/m/batch-1/part-0.parquet": os.urandom(64),
        "data/models/m/model.tflite": b"flat",
        "data/MINI_$folder$": b"",
        "reports/emr/MINI/run.html": b"<html>",
        "reports/local/MINI/run.html": b"<html>not ours",
    }
    for key, content in results.items():
        cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
    return results


def files_of(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_results_come_back_into_folders_of_their_own(with_bucket: Cloud) -> None:
    results = put_results(with_bucket)
    done = with_bucket.run("download-results")
    assert done.code == 0
    folder = with_bucket.home / "data/emr_output"
    assert files_of(folder) == {"MINI/pca/csv/pca.csv", "MINI/metadata/metadata.csv", "APPLES/pca/csv/pca.csv"}
    assert (folder / "APPLES/pca/csv/pca.csv").read_bytes() == results["data/APPLES/pca/csv/pca.csv"]
    assert files_of(with_bucket.home / "reports/emr") == {"MINI/run.html"}
    assert "3 fetched, 0 were there" in done.out
    (folder / "APPLES/pca/csv/pca.csv").write_bytes(b"appels")  # of the same length
    assert "1 fetched, 2 were there" in with_bucket.run("download-results").out
    assert (folder / "APPLES/pca/csv/pca.csv").read_bytes() == b"apples"


def test_tables_of_two_runs_are_refused(with_bucket: Cloud, tmp_path: Path) -> None:
    (tmp_path / "MINI/pca").mkdir(parents=True)
    (tmp_path / "MINI/pca/pca.csv").write_text("apples")
    write_marker(tmp_path / "MINI", owner={"target": "emr", "input_dir": "s3://there"})
    for name in ("pca/pca.csv", "run.json"):
        content = (tmp_path / "MINI" / name).read_bytes()
        with_bucket.client("s3").put_object(Bucket=BUCKET, Key=f"data/MINI/{name}", Body=content)
    assert with_bucket.run("download-results").code == 0

    (with_bucket.home / "data/emr_output/MINI/pca/part-of-an-earlier-run.csv").write_text("pears")
    done = with_bucket.run("download-results")
    assert done.code == 1
    assert "part-of-an-earlier-run.csv is of another run" in done.err


def test_modes_and_features_can_be_chosen(with_bucket: Cloud) -> None:
    put_results(with_bucket)
    assert with_bucket.run("download-results", "APPLES", "--features").code == 0
    assert files_of(with_bucket.home / "data/emr_output") == {
        "APPLES/pca/csv/pca.csv",
        "features/m/batch-1/part-0.parquet",
    }


def test_nothing_to_download_is_said(with_bucket: Cloud) -> None:
    done = with_bucket.run("download-results")
    assert done.code == 2
    assert "holds no results yet" in done.err


def test_large_files_travel_in_parts_and_are_verified(
    with_bucket: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 * 2**20  # the least that S3 takes
    for module in (etag, transfer):
        monkeypatch.setattr(module, "PART_BYTES", part)
    monkeypatch.setattr(etag.etag_of, "__kwdefaults__", {"part_bytes": part, "parts": None})
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(2 * part + 17))
    account = Account("eu-west-1")
    moved = transfer.upload(account, {"data/large.bin": large}, bucket=BUCKET, prefix="data/large")
    assert (moved.files, moved.skipped) == (1, 0)
    entry = transfer.list_objects(account, BUCKET, "data/large")["data/large.bin"]
    assert entry.etag.endswith("-3")
    assert transfer.upload(account, {"data/large.bin": large}, bucket=BUCKET, prefix="data/large").skipped == 1


def test_what_arrives_other_than_it_lies_there_is_no_file(
    with_bucket: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bucket.client("s3").put_object(Bucket=BUCKET, Key="data/MINI/a.csv", Body=b"abc")
    account = Account("eu-west-1")
    entry = transfer.list_objects(account, BUCKET, "data/MINI")["data/MINI/a.csv"]
    wrong = transfer.Entry(entry.key, entry.size, "0" * 32)
    with pytest.raises(FruitsError, match="arrived other than it lies there"):
        transfer.download(account, [wrong], bucket=BUCKET, prefix="data/", folder=tmp_path / "out")
    assert files_of(tmp_path / "out") == set()


def test_a_failed_upload_says_how_to_go_on(with_bucket: Cloud, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"a")
    with pytest.raises(FruitsError, match="AWS refused"):
        transfer.upload(Account("eu-west-1"), {"a": file}, bucket="nobodys-bucket", prefix="")
