"""What needs no bucket: places of keys, refusals, what is an image, archives, wheels."""

import io
import os
import signal
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from boto3.exceptions import Boto3Error
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import Stubber
from emr import shipment, transfer
from emr.context import STATE_FILE, Context, explain
from emr.settings import load_settings

from fruits.errors import FruitsError, UsageError
from fruits.params import repository


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(settings=load_settings(), home=tmp_path, say=lambda _: None, ask=lambda _: None)


@pytest.mark.parametrize("key", ["data/../x", "data/a/../../x", "data//etc/passwd", "data/"])
def test_keys_stay_in_their_folder(context: Context, key: str) -> None:
    with pytest.raises(FruitsError, match=f"'{key}' would be written outside"):
        transfer.download(context, [{"Key": key}], prefix="data/", folder=context.home)


def test_objects_that_are_not_deleted_are_told() -> None:
    sent: list[int] = []

    def delete_objects(*, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        sent.append(len(Delete["Objects"]))
        return {"Errors": [{"Key": "locked.jpg", "Code": "AccessDenied"}]} if len(sent) == 2 else {}

    with pytest.raises(FruitsError, match=r"to delete 1 of 2001 objects of b, such as locked\.jpg \(AccessD"):
        transfer.delete_objects(SimpleNamespace(delete_objects=delete_objects), "b", [*map(str, range(2001))])
    assert sent == [1000, 1000, 1]


def test_keys_that_expire_during_an_upload_are_told(context: Context) -> None:
    client = boto3.client("s3", region_name="eu-west-1", config=Config(signature_version=UNSIGNED))
    context._clients["s3", context.settings.region, False] = client
    (context.home / STATE_FILE).write_text('{"bucket": "b"}')
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", {})
        stub.add_client_error("put_object", "ExpiredToken", "The token has expired.")
        with pytest.raises(Boto3Error) as caught:
            transfer.upload(context, {"x": context.home / STATE_FILE}, prefix="x")
    assert "ExpiredToken: The token has expired. Log in again" in str(explain(caught.value))


def test_ctrl_c_stops_what_has_not_begun() -> None:
    moved: list[str] = []

    def move(key: str, **_: object) -> None:
        time.sleep(0.05)
        moved.append(key)
        if len(moved) == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        transfer._move(dict.fromkeys(map(str, range(400)), 1), [*map(str, range(400))], move, verb="sent")
    assert 20 <= len(moved) < 200


@pytest.mark.parametrize("below", ["Training/Kiwi", "Kiwi", "."])
@pytest.mark.parametrize("name", ["a.txt", ".hidden", "Thumbs.db", "A.JPG", "A"])
def test_an_image_is_what_a_run_takes_for_one(tmp_path: Path, below: str, name: str) -> None:
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    (tmp_path / below / name).write_bytes(b"GIF89a")
    if name.startswith("A"):
        shipment.check_images(tmp_path)
    else:
        with pytest.raises(UsageError, match=rf"{tmp_path} holds no images"):
            shipment.check_images(tmp_path)


def test_archives_hold_what_the_nodes_import(context: Context, tmp_path: Path) -> None:
    context.params_file.parent.mkdir()
    context.params_file.write_bytes((repository() / "params/emr.example.yaml").read_bytes())
    made = [{key: file.read_bytes() for key, file in shipment.make_code(context, tmp_path).items()} for _ in range(2)]
    assert made[0] == made[1]  # the same code, the same bytes
    package, tree = (
        set(zipfile.ZipFile(io.BytesIO(made[0][f"code/{name}.zip"])).namelist()) for name in ("fruits", "repository")
    )
    assert {"fruits/__init__.py", "fruits/log4j2.properties"} <= package
    assert not any(name.startswith("fruits_cli") for name in package)
    wanted = {"lib/fruits/params.py", "lib/fruits_cli/cli.py", "notebooks/pipeline.ipynb", "params/MINI.yaml"}
    assert wanted | {"params/emr.yaml", "pyproject.toml"} <= tree
    assert not any("__pycache__" in name or ".ipynb_checkpoints" in name for name in package | tree)
