"""`s3://` folders: the real command, on a local S3 and on a network that fails; `spark.read` with the jars of S3A."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import REPOSITORY
from doubles import KEYS, REGION, Faults, failing_network, list_keys, local_s3
from PIL import Image

from fruits import folders, ownership
from fruits import s3 as s3_paths
from fruits.errors import FruitsError, UsageError
from fruits.images import open_images
from fruits.images.source import hash_content, read_as_listed
from fruits.images.tree import ClassFolders
from fruits.session import find_s3_jars

pytestmark = pytest.mark.integration

BUCKET = "fruits-test"
CLASSES = ("Apple Golden 1", "Apple à l'été")
EACH = 20
# Longer than any run takes on two busy cores.
PATIENCE = 240


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Give the address of a local S3 with one bucket; keys and address are in the environment."""
    pytest.importorskip("moto", reason="moto is not installed: make test-integration installs it")
    with local_s3() as address, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield address


def client() -> Any:
    import boto3

    return boto3.client("s3", region_name=REGION)


def keys(prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in list_keys(client(), BUCKET, prefix=prefix)}


def get(key: str) -> bytes:
    return bytes(client().get_object(Bucket=BUCKET, Key=key)["Body"].read())


def upload(folder: Path, prefix: str) -> None:
    for name in folders.as_folder(folder).list_files():
        client().upload_file(str(folder / name), BUCKET, f"{prefix}/{name}")


def run(*, address: str = "", **settings: str | Path) -> subprocess.CompletedProcess[str]:
    """Run all apples; with the address of an S3, on that one."""
    settings = {"weights": "random", "pca_components": "10", "spark_master": "local[2]", **settings}
    command = [str(Path(sys.executable).with_name("fruits")), "run", "APPLES", "--target", "local"]
    command += [f"--set={key}={value}" for key, value in settings.items()]
    env = {**os.environ, **({"AWS_ENDPOINT_URL": address} if address else {})}
    return subprocess.run(command, env=env, text=True, capture_output=True, check=False, timeout=PATIENCE)


def places(prefix: str) -> dict[str, str]:
    return {"output_dir": f"s3://{BUCKET}/{prefix}/out", "report_dir": f"s3://{BUCKET}/{prefix}/reports"}


def read_counts(prefix: str) -> dict[str, int]:
    return dict(json.loads(get(f"{prefix}/reports/local/APPLES/manifest.json"))["counts"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a few images of no fruit, in names that are hard to spell."""
    folder, draw = tmp_path_factory.mktemp("images"), random.Random(0)  # noqa: S311
    for label in CLASSES:
        (folder / "Training" / label).mkdir(parents=True)
        for number in range(EACH):
            pixels = bytes(draw.randrange(256) for _ in range(10 * 10 * 3))
            name = f"n° {number}+%41#?.png" if number % 2 else f"{number}_100.jpg"
            Image.frombytes("RGB", (10, 10), pixels).resize((100, 100)).save(folder / "Training" / label / name)
    return folder


@pytest.fixture(scope="module")
def local(images: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the outputs of a run on local folders."""
    place = tmp_path_factory.mktemp("local")
    shutil.copytree(models, place / "out/models")
    done = run(input_dir=images, output_dir=place / "out", report_dir=place / "reports")
    assert done.returncode == 0, done.stderr
    return place / "out"


@pytest.fixture(scope="module")
def converted(s3: str, local: Path) -> None:
    """Put the converted model where the runs look for it: converting takes half a minute each."""
    for prefix in ("plain", "packed 12:30", "faults"):
        upload(local / "models", f"{prefix}/out/models")


@pytest.mark.usefixtures("s3")
def test_a_tree_is_listed_as_on_a_disk(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0" + bytes(5000)
    files = dict.fromkeys(("Kiwi/1.jpg", "Kiwi/IMG", "no class.jpg", "Kiwi/@eaDir/1.jpg/THUMB.jpg"), jpeg)
    files |= {
        "Kiwi/LICENSE": b"MIT",
        "Kiwi/EMPTY": b"",
        "Kiwi/.h/1.jpg": jpeg,
        "Kiwi/.h/2.jpg": jpeg,
        "Fig/1.psd": b"G",
    }
    for name, content in files.items():
        (tmp_path / "Validation" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Validation" / name).write_bytes(content)
    upload(tmp_path, "tree")
    bucket = folders.resolve(f"s3://{BUCKET}/tree", base=None)
    asked: dict[str, Any] = {"split": "Validation", "classes": ["*"]}
    assert open_images(bucket).list_splits() == ["Validation"]
    ours, theirs = (open_images(folder).list_images(**asked) for folder in (bucket, tmp_path))
    assert ours["path"].tolist() == theirs["path"].tolist() == ["Validation/Kiwi/1.jpg", "Validation/Kiwi/IMG"]
    pd.testing.assert_frame_equal(*(open_images(folder).list_ignored(**asked) for folder in (bucket, tmp_path)))
    with pytest.raises(UsageError, match=r"no folder .*/tree/Training; .* holds Validation\."):
        open_images(bucket).list_images(split="Training", classes=["*"])


@pytest.mark.usefixtures("converted")
def test_plain_folders_give_the_same_bytes_and_a_second_run_reuses_all_features(
    images: Path, local: Path, tmp_path: Path
) -> None:
    upload(images, "plain/images")
    for reused in (0, 2 * EACH):
        done = run(input_dir=f"s3://{BUCKET}/plain/images", **places("plain"))
        assert done.returncode == 0, done.stderr
        assert f"Results: s3://{BUCKET}/plain/out/APPLES" in done.stdout
        counts = {"listed": 2 * EACH, "features": 2 * EACH, "errors": 0}
        assert read_counts("plain") == {**counts, "reused": reused, "computed": 2 * EACH - reused}
    for name in ("pca/csv/pca.csv", "model_info/variance.csv", "model_info/mean.npy", "errors/errors.csv"):
        assert get(f"plain/out/APPLES/{name}") == (local / "APPLES" / name).read_bytes(), name
    names = {"atlas.html", "manifest.json", "run.html", "run.ipynb", "run.json", "variance.png"}
    log = json.loads(get("plain/reports/local/APPLES/manifest.json"))["spark"]["event_log"]
    names |= {f"spark/{name}" for name in (log, "stages.csv", "executors.csv", "spark.png")}
    assert keys("plain/reports/") == {"index.html", *(f"local/APPLES/{name}" for name in names)}
    # The marker lists all there is, and nothing of a draft is left.
    files = json.loads(get("plain/out/APPLES/run.json"))["files"].keys()
    assert keys("plain/out/APPLES/") == {*files, "run.json"}
    assert {key.split("/")[0] for key in keys("plain/out/")} == {"APPLES", "features", "models"}


@pytest.mark.usefixtures("converted")
def test_packed_folders_give_the_same_bytes(images: Path, local: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("fruits")), "pack", str(images), f"s3://{BUCKET}/packed 12:30/images"]
    packed = subprocess.run(command, text=True, capture_output=True, check=False, timeout=PATIENCE)
    assert packed.returncode == 0, packed.stderr
    assert keys("packed 12:30/images/") == {"images-00000.parquet"}
    done = run(input_dir=f"s3://{BUCKET}/packed 12:30/images", **places("packed 12:30"))
    assert done.returncode == 0, done.stderr
    for name in ("pca/csv/pca.csv", "metadata/metadata.csv"):
        assert get(f"packed 12:30/out/APPLES/{name}") == (local / "APPLES" / name).read_bytes(), name


@pytest.mark.usefixtures("converted")
def test_a_run_over_a_failing_network_completes_and_loses_nothing(s3: str, images: Path, local: Path) -> None:
    upload(images, "faults/images")
    faults = Faults(every=25)
    with failing_network(s3, faults) as address:
        done = run(address=address, input_dir=f"s3://{BUCKET}/faults/images", **places("faults"))
    assert done.returncode == 0, done.stderr
    assert set(faults.done) == {"slow down", "reset", "late"}
    assert read_counts("faults")["features"] == 2 * EACH
    assert get("faults/out/APPLES/pca/csv/pca.csv") == (local / "APPLES/pca/csv/pca.csv").read_bytes()


def test_a_refusal_for_good_is_one_sentence_at_once(s3: str, images: Path) -> None:
    started = time.monotonic()
    with failing_network(s3, Faults(forbidden=True)) as address:
        done = run(address=address, input_dir=f"s3://{BUCKET}/plain/images", **places("refused"))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"fruits: s3://{BUCKET}/plain/images cannot be listed: S3 refuses it (Access Denied); "
    )
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started < 60


def test_a_place_that_cannot_be_used_is_one_sentence(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(location: str) -> Path:
        return folders.resolve(location, base=REPOSITORY)

    with pytest.raises(UsageError, match="s3://no-such-bucket/x cannot be listed: there is no bucket no-such-bucket"):
        folders.as_folder(place("s3://no-such-bucket/x")).check_listable()
    with pytest.raises(UsageError, match="s3://no-such-bucket/x cannot be written: there is no bucket no-such-bucket"):
        folders.as_folder(place("s3://no-such-bucket/x")).check_writable()
    folders.as_folder(place(f"s3://{BUCKET}/écrit")).check_writable()
    assert keys("écrit") == set()
    with failing_network(s3, Faults(forbidden=True)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setattr(s3_paths, "_OPTIONS", {**s3_paths._OPTIONS, "skip_instance_cache": True})
        with pytest.raises(FruitsError, match=r"cannot be written: S3 refuses it \((Access Denied|Forbidden)\)"):
            folders.as_folder(place(f"s3://{BUCKET}/x")).check_writable()


@pytest.mark.usefixtures("s3")
def test_an_image_that_changed_since_its_listing_is_not_read_as_that() -> None:
    folder = folders.resolve(f"s3://{BUCKET}/changed", base=REPOSITORY)
    folders.write_bytes(folder / "Training/A/x.jpg", b"12345")
    ((_, length, _, tag),) = s3_paths.S3Folder(folder).list_objects()
    source = ClassFolders(folder)
    assert read_as_listed(source, "Training/A/x.jpg", length=length, digest=tag) == (b"12345", hash_content(b"12345"))
    folders.write_bytes(folder / "Training/A/x.jpg", b"54321")
    with pytest.raises(OSError, match="changed since it was listed"):
        read_as_listed(source, "Training/A/x.jpg", length=length, digest=tag)


@pytest.mark.usefixtures("s3")
def test_a_folder_is_replaced_by_copies_and_its_marker_comes_last() -> None:
    final = folders.resolve(f"s3://{BUCKET}/replaced/RUN", base=REPOSITORY)
    for content in (b"1", b"2"):
        with folders.as_folder(final).replaced() as draft:
            for name in ("run.json", "a b/é", f"only {content.decode()}"):
                folders.write_bytes(draft / name, content)
        assert keys("replaced/") == {f"RUN/{name}" for name in ("run.json", "a b/é", f"only {content.decode()}")}
        assert get("replaced/RUN/run.json") == content
    with pytest.raises(ValueError, match="stop"), folders.as_folder(final).replaced() as draft:  # noqa: PT012
        folders.write_bytes(draft / "run.json", b"3")
        raise ValueError("stop")
    assert get("replaced/RUN/run.json") == b"2"
    assert len(keys("replaced/")) == 3


@pytest.mark.usefixtures("s3")
def test_a_report_keeps_what_was_done_by_hand_and_is_not_put_over_strange_files() -> None:
    owner: dict[str, Any] = {"target": "emr", "input_dir": "s3://somewhere"}
    final = folders.resolve(f"s3://{BUCKET}/kept/emr/MINI", base=REPOSITORY)
    for content in (b"1", b"2"):
        with folders.as_folder(final).staged() as draft:
            folders.write_bytes(draft / "run.html", content)
            ownership.write_marker(draft, owner=owner, kind=ownership.REPORT)
            ownership.keep_folders(final, draft, ownership.REPORT)
            ownership.check_again(final, ownership.REPORT, owner=owner, replace=False)
        folders.write_bytes(final / "by-hand/manifest.json", b"by hand")
        folders.write_bytes(final / "run.failed.ipynb", b"failed since")
        assert keys("kept/emr/MINI/") == {"run.html", "run.json", "by-hand/manifest.json", "run.failed.ipynb"}
    assert (get("kept/emr/MINI/run.html"), get("kept/emr/MINI/by-hand/manifest.json")) == (b"2", b"by hand")
    folders.write_bytes(final / "thesis.txt", b"mine")
    with pytest.raises(UsageError, match=r"holds 1 files .*'thesis\.txt'"):
        ownership.check_owner(final, ownership.REPORT, owner=owner, replace=True)
    # Results without their marker: a run was killed while it copied them.
    results = folders.resolve(f"s3://{BUCKET}/kept/MINI", base=REPOSITORY)
    client().put_object(Bucket=BUCKET, Key="kept/MINI/pca_$folder$")  # EMR's file system leaves it: no file of a run
    assert folders.as_folder(results).list_files() == []
    assert ownership.check_owner(results, ownership.RESULTS, owner=owner, replace=False) == []
    folders.write_bytes(results / "pca/csv/pca.csv", b"table")
    with pytest.raises(UsageError, match=r"without run\.json, .*--replace"):
        ownership.check_owner(results, ownership.RESULTS, owner=owner, replace=False)
    assert ownership.check_owner(results, ownership.RESULTS, owner=owner, replace=True) == []


@pytest.mark.skipif(not find_s3_jars(), reason="Spark has no S3A here: make s3 fetches it")
@pytest.mark.usefixtures("s3")
def test_large_files_go_in_parts_both_ways(tmp_path: Path) -> None:
    """Above 64 MB S3A, and above 50 MB s3fs, send a file in parts. In a process of its own: this one has a session."""
    lines = [
        "from fruits.session import open_session",
        "spark = open_session(master='local[2]', driver_memory='1g')",
        f"place = 's3://{BUCKET}/large/é à'",
        "spark.range(10_000_000).selectExpr('id', 'rand(1) AS noise').coalesce(1).write.parquet(place)",
        "print(spark.read.parquet(place).selectExpr('sum(id)', 'count(noise)').first())",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], text=True, capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert "=49999995000000, " in done.stdout
    assert "=10000000)" in done.stdout
    file = folders.resolve(f"s3://{BUCKET}/large/file", base=REPOSITORY)
    content = random.Random(0).randbytes(60 * 2**20)  # noqa: S311
    folders.write_bytes(file, content)
    with file.open("rb") as stream:
        assert stream.read() == content
    entries = client().list_objects_v2(Bucket=BUCKET, Prefix="large/")["Contents"]
    # The tag of an object that came in parts ends in their number.
    assert sum("-" in entry["ETag"] for entry in entries if entry["Size"] > 50 * 2**20) == 2
