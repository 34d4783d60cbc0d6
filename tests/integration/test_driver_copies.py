"""What the driver of a cluster copies from S3 to its own disk: the file of the weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_weights_file
from doubles import KEYS, REGION, local_s3

from fruits import folders
from fruits.errors import UsageError
from fruits.features.weights import find_weights

pytestmark = pytest.mark.integration
BUCKET = "fruits-test"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    pytest.importorskip("moto", reason="moto is not installed: make test-integration installs it")
    import boto3
    from s3fs import S3FileSystem

    # It keeps its connections, also those to the S3 of other tests.
    S3FileSystem.clear_instance_cache()
    with local_s3() as address, pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name=REGION)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client
    S3FileSystem.clear_instance_cache()


def test_weights_in_s3_are_copied_anew_each_time(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights trained again have the name and the size of those before them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folders.find_cache.cache_clear()
    copies = set()
    for seed, folder in enumerate(("weights", "weights", "others")):
        content = make_weights_file(seed)
        s3.put_object(Bucket=BUCKET, Key=f"code/{folder}/mine.h5", Body=content)
        file = find_weights(f"s3://{BUCKET}/code/{folder}/mine.h5", base=None)
        copies.add(file)
        assert file
        assert file.is_relative_to(tmp_path)
        assert file.read_bytes() == content
    assert len(copies) == 2, "another session may be at work with weights of the same name"
    for nothing in (f"s3://{BUCKET}/code/weights/other.h5", f"s3://{BUCKET}/code", f"s3://{BUCKET}"):
        with pytest.raises(UsageError, match=rf"no file {nothing}/?; allowed"):
            find_weights(nothing, base=None)


def test_a_driver_without_a_home_keeps_its_copies_elsewhere(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Livy's session on YARN runs as a user whose home is not there."""
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders.find_cache.cache_clear()
    s3.put_object(Bucket=BUCKET, Key="code/mine.txt", Body=b"mine")
    assert folders.fetch_file(folders.resolve(f"s3://{BUCKET}/code/mine.txt", base=None)).is_relative_to(tmp_path)
