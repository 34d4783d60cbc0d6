"""Images up, results down, against moto: nothing twice, nothing half, nothing else's."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloud import BUCKET, Cloud, prepare_model
from emr import base, transfer
from emr.context import Context
from emr.settings import load_settings

from fruits.errors import FruitsError
from fruits.networks import DEFAULT
from fruits.ownership import write_marker

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures",)
RAW = "data/raw/fruits-360/"
KERAS_FILE = DEFAULT.file.format(size=DEFAULT.size)


@pytest.fixture
def context(cloud: Cloud) -> Context:
    """Make a bucket without its stack: what travels needs no more."""
    made = Context(settings=load_settings(), home=cloud.home, say=lambda _: None, ask=lambda _: None)
    place = {"LocationConstraint": made.settings.region}
    made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    made.remember(BUCKET)
    base.write_params(made)
    return made


def send(cloud: Cloud, folder: Path, *arguments: str) -> str:
    done = cloud.run("upload-dataset", str(folder), *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def put(context: Context, objects: dict[str, bytes]) -> None:
    for key, content in objects.items():
        context.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)


def files_of(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_images_are_sent_once_and_an_upload_goes_on_where_it_stopped(
    cloud: Cloud, context: Context, fruit_folder: Path
) -> None:
    odd = "Training/Kiwi/Pêche d'été 1.jpg"
    (fruit_folder / odd).write_bytes(b"not an image")
    out = send(cloud, fruit_folder, "--files")
    assert "13 sent, 0 were there" in out
    assert "No prepared model is here" in out
    assert cloud.keys(RAW) == {RAW + name for name in files_of(fruit_folder)}
    context.client("s3").delete_object(Bucket=BUCKET, Key=f"{RAW}Training/Kiwi/0_100.jpg")
    put(context, {RAW + odd: b"n0t an image"})
    assert "2 sent, 11 were there" in send(cloud, fruit_folder, "--files")
    # Packed, they take the place of the files, and are the same bytes again.
    assert "1 sent, 0 were there" in send(cloud, fruit_folder)
    assert cloud.keys(RAW) == {f"{RAW}images-00000.parquet"}
    assert "0 sent, 1 were there" in send(cloud, fruit_folder)
    for file in fruit_folder.rglob("*.jpg"):
        file.rename(file.with_suffix(".txt"))
    done = cloud.run("upload-dataset", str(fruit_folder))
    assert (done.code, "holds no images" in done.err) == (2, True)
    assert cloud.keys(RAW) == {f"{RAW}images-00000.parquet"}


@pytest.mark.parametrize("name", ["my weights #2.h5", "w: new 'é'.h5"])
def test_code_model_and_weights_travel_along(cloud: Cloud, context: Context, fruit_folder: Path, name: str) -> None:
    prepare_model(cloud.home)
    (cloud.home / "keras/models").mkdir(parents=True)
    (cloud.home / "keras/models" / KERAS_FILE).write_bytes(b"h5")
    (cloud.home / "data/models/random-42").mkdir()
    (cloud.home / "data/models/random-42/model.json").write_text("{}")
    (cloud.home / name).write_bytes(b"h5")
    assert "No prepared model" not in send(cloud, fruit_folder, "--files", "--weights", str(cloud.home / name))
    model = "data/models/0123456789abcdef-0123"
    assert cloud.keys("data/models/") == {f"{model}/{part}" for part in ("model.json", "model.tflite", "weights.npz")}
    plain = ("bootstrap.sh", "step.sh", "requirements-worker.txt", "sparkmagic.json", "fruits.zip", "repository.zip")
    assert cloud.keys("code/") == {f"code/{part}" for part in (*plain, f"keras/models/{KERAS_FILE}", f"weights/{name}")}
    text = context.params_file.read_text()
    assert yaml.safe_load(text)["weights"] == f"s3://{BUCKET}/code/weights/{name}"
    assert "# imagenet | the path of an .h5 file" in text
    # Livy's session has no Keras to download weights: the notebook copies these. An edited one stays.
    key = {"Bucket": BUCKET, "Key": "jupyter/jovyan/emr_jupyterhub.ipynb"}
    notebook = context.client("s3").get_object(**key)["Body"].read().decode()
    assert f"s3://{BUCKET}/data/raw/fruits-360" in notebook
    assert f"s3://{BUCKET}/code/weights/" in notebook
    put(context, {key["Key"]: b"edited"})
    assert "stays as it was saved; delete it" in send(cloud, fruit_folder, "--files")
    assert context.client("s3").get_object(**key)["Body"].read() == b"edited"


def test_results_come_back_once_into_folders_of_their_own(cloud: Cloud, context: Context) -> None:
    tables = {"MINI/pca/csv/pca.csv", "MINI/Pêche 1/a b.csv", "APPLES/pca.csv"}
    others = ("features/m/0.parquet", "models/m/model.tflite", "MINI_$folder$", "MINI/pca_$folder$", "raw/x/1.jpg")
    put(context, {f"data/{name}": name.encode() for name in (*tables, *others)})
    put(context, {f"reports/{target}/MINI/run.html": b"<html>" for target in ("emr", "local")})
    done = cloud.run("download-results")
    assert (done.code, done.err) == (0, "")
    folder = cloud.home / "data/emr_output"
    assert files_of(folder) == tables
    assert files_of(cloud.home / "reports/emr") == {"MINI/run.html"}
    (folder / "APPLES/pca.csv").write_bytes(b"appels/pca.csv")  # of the same length
    assert "1 fetched, 2 were there" in cloud.run("download-results").out
    assert (folder / "APPLES/pca.csv").read_bytes() == b"APPLES/pca.csv"
    assert "0 fetched, 3 were there" in cloud.run("download-results").out
    assert "0 fetched, 1 were there" in cloud.run("download-results", "APPLES", "--features").out
    assert files_of(folder) == tables | {"features/m/0.parquet"}
    done = cloud.run("download-results", "FULL")
    assert done.code == 2
    assert "holds no results yet" in done.err


@pytest.mark.parametrize(("delimiter", "quote", "told"), [(",", "", True), (";", "'", False)])
def test_tables_of_two_runs_are_refused_and_formulas_told(
    cloud: Cloud, context: Context, tmp_path: Path, delimiter: str, quote: str, told: bool
) -> None:
    (tmp_path / "MINI/metadata").mkdir(parents=True)
    table = f"path{delimiter}label\n1.jpg{delimiter}{quote}=HYPERLINK(1)\n"
    (tmp_path / "MINI/metadata/metadata.csv").write_text(table)
    write_marker(tmp_path / "MINI", owner={"target": "emr", "input_dir": "s3://there"})
    put(context, {f"data/MINI/{name}": (tmp_path / "MINI" / name).read_bytes() for name in files_of(tmp_path / "MINI")})
    done = cloud.run("download-results")
    assert done.code == 0
    assert ("such as '=HYPERLINK(1)' for formulas" in done.out) == told
    (cloud.home / "data/emr_output/MINI/of-another-run.csv").touch()
    done = cloud.run("download-results")
    assert done.code == 1
    assert "of-another-run.csv is of another run" in done.err


def list_data(context: Context) -> dict[str, dict[str, Any]]:
    return transfer.list_objects(context.client("s3"), BUCKET, "data/")


def test_large_files_travel_in_parts_and_are_known_again(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 5 * 2**20)  # the least that S3 takes
    files = {"data/large.bin": tmp_path / "large.bin"}
    (tmp_path / "large.bin").write_bytes(content := os.urandom(2 * 5 * 2**20 + 17))
    assert "1 sent, 0 were" in transfer.upload(context, files, there=list_data(context))
    entries = list_data(context)
    assert entries["data/large.bin"]["ETag"].endswith('-3"')
    assert "0 sent, 1 were" in transfer.upload(context, files, there=list_data(context))
    transfer.download(context, entries.values(), prefix="data/", folder=tmp_path / "back")
    assert (tmp_path / "back/large.bin").read_bytes() == content
    (tmp_path / "large.bin").write_bytes(content[::-1])
    assert "1 sent, 0 were" in transfer.upload(context, files, there=list_data(context))


def test_a_file_cut_off_is_no_file_and_is_fetched_again(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(context, {"data/MINI/a.csv": b"abc"})
    entries = list_data(context).values()

    def break_off(_: str, __: str, file: str, **___: object) -> None:
        Path(file).write_bytes(b"a")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(context.client("s3"), "download_file", break_off)
        with pytest.raises(FruitsError, match=r"disk full; .* repeat"):
            transfer.download(context, entries, prefix="data/", folder=tmp_path / "out")
    assert not (tmp_path / "out/MINI/a.csv").exists()
    assert "1 fetched" in transfer.download(context, entries, prefix="data/", folder=tmp_path / "out")
    assert files_of(tmp_path / "out") == {"MINI/a.csv"}
