"""What needs no bucket: places of keys, refusals, what is an image, archives, wheels."""

import io
import os
import signal
import time
import zipfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from emr import shipment, transfer
from emr.context import Context
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
    refusal = {"Errors": [{"Key": "locked.jpg", "Code": "AccessDenied"}]}
    client = Mock(delete_objects=Mock(side_effect=[{}, refusal, {}]))
    with pytest.raises(FruitsError, match=r"to delete 1 of 2001 objects of b, such as locked\.jpg \(AccessD"):
        transfer.delete_objects(client, "b", [*map(str, range(2001))])


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
def test_an_image_is_what_a_run_takes_for_one(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    (tmp_path / below / "Thumbs.db").write_bytes(b"GIF89a")
    with pytest.raises(UsageError, match=rf"{tmp_path} holds no images"):
        shipment.check_images(tmp_path)
    (tmp_path / below / "A.JPG").write_bytes(b"GIF89a")
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


def test_a_packed_environment_is_sent_if_the_settings_say_so_and_it_is_of_these_pins(tmp_path: Path) -> None:
    def make(*overrides: str) -> Context:
        settings = load_settings(["packed=true", *overrides])
        return Context(settings=settings, home=tmp_path, say=lambda _: None, ask=lambda _: None)

    (tmp_path / "params").mkdir()
    (tmp_path / "params/emr.yaml").write_text("weights: random\n")
    archive = tmp_path / ".packed/aarch64.tar.gz"
    graviton = [f"{role}_type=m7g.xlarge" for role in ("primary", "core")]
    with pytest.raises(UsageError, match=rf"needs {archive}, which is missing .* run: make packed-env ARCH=aarch64"):
        shipment.make_code(make(*graviton), tmp_path)
    archive.parent.mkdir()
    archive.touch()
    assert shipment.make_code(make(*graviton), tmp_path)[shipment.ENVIRONMENT] == archive
    assert shipment.ENVIRONMENT not in shipment.make_code(make("packed=false"), tmp_path)
    os.utime(archive, (0, 0))
    for nodes, message in ((graviton, "older than requirements-worker"), (graviton[:1], "nodes of one architecture")):
        with pytest.raises(UsageError, match=message):
            shipment.make_code(make(*nodes), tmp_path)
