"""What needs no bucket: checksums, places of keys, host keys, last lines, archives."""

import hashlib
import io
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from emr import transfer
from emr.etag import etag_of
from emr.nodes import describe_idle, idle_request, read_node
from emr.shipment import build_archives, check_images, machine_of
from emr.steps import last_line
from emr.transfer import Entry, is_same, place_of
from emr.tunnel import read_host_keys, ssh_command, ssm_command

from fruits.errors import FruitsError, UsageError
from fruits.images.formats import IMAGE_SUFFIXES
from fruits.params import repository


def md5(content: bytes) -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)


def test_a_small_file_has_its_md5(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pixels")
    assert etag_of(tmp_path / "a") == md5(b"pixels").hexdigest()
    assert is_same(Entry("a", 6, md5(b"pixels").hexdigest()), tmp_path / "a")
    assert not is_same(Entry("a", 6, md5(b"pixelz").hexdigest()), tmp_path / "a")
    assert not is_same(None, tmp_path / "a")


def test_a_file_in_parts_has_the_md5_of_its_parts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdefg")
    expected = md5(md5(b"abc").digest() + md5(b"def").digest() + md5(b"g").digest()).hexdigest()
    assert etag_of(tmp_path / "a", part_bytes=3) == f"{expected}-3"
    (tmp_path / "b").write_bytes(b"abc")
    assert etag_of(tmp_path / "b", part_bytes=3) == f"{md5(md5(b'abc').digest()).hexdigest()}-1"
    assert etag_of(tmp_path / "b", part_bytes=3, parts=False) == md5(b"abc").hexdigest()


def test_keys_stay_in_their_folder(tmp_path: Path) -> None:
    place = place_of("data/MINI/Pêche 1/a b.csv", prefix="data/", folder=tmp_path)
    assert place == tmp_path / "MINI" / "Pêche 1" / "a b.csv"
    for key in ("data/../x", "data/a/../../x", "data//etc/passwd"):
        with pytest.raises(FruitsError, match="outside"):
            place_of(key, prefix="data/", folder=tmp_path)


@pytest.mark.parametrize(
    "name", ["a.txt", ".hidden", "Thumbs.db", *(f"A{suffix}" for suffix in IMAGE_SUFFIXES), "A.JPG", "A"]
)
def test_an_image_is_what_a_run_takes_for_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "Validation" / "Kiwi").mkdir(parents=True)
    (tmp_path / "Validation" / "Kiwi" / name).write_bytes(b"GIF89a")
    if name.lower().endswith(IMAGE_SUFFIXES) or name == "A":
        check_images(tmp_path)
    else:
        with pytest.raises(UsageError, match="holds no image"):
            check_images(tmp_path)


def test_ctrl_c_stops_what_has_not_begun() -> None:
    moved: list[str] = []

    def move(key: str, _: Callable[[int], None]) -> None:
        time.sleep(0.1)
        moved.append(key)

    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        transfer._each([str(number) for number in range(400)], move, total=1, what="up")
    assert 0 < len(moved) < 200


def test_ssh_checks_the_host_and_systems_manager_forwards_the_same_port(tmp_path: Path) -> None:
    key, hosts = tmp_path / "key.pem", tmp_path / "hosts"
    sure = ssh_command("ec2-1", key=key, known_hosts=hosts, certain=True)
    assert sure[-4:] == ["-N", "-L", "9443:localhost:9443", "hadoop@ec2-1"]
    assert "StrictHostKeyChecking=yes" in sure
    assert f'UserKnownHostsFile="{hosts}"' in sure
    assert f'IdentityFile="{key}"' in sure
    unsure = ssh_command("ec2-1", key=key, known_hosts=hosts, certain=False)
    assert "StrictHostKeyChecking=ask" in unsure
    assert not any("=no" in part or "/dev/null" in part for part in sure + unsure)
    command = ssm_command("i-1", region="eu-west-1")
    assert command[:3] == ["aws", "ssm", "start-session"]
    assert command[command.index("--target") + 1] == "i-1"
    assert "AWS-StartPortForwardingSession" in command
    assert command[-1] == '{"portNumber": ["9443"], "localPortNumber": ["9443"]}'


def test_host_keys_are_read_from_the_console() -> None:
    console = """boot
-----BEGIN SSH HOST KEY FINGERPRINTS-----
256 SHA256:xyz root@ip (ED25519)
-----END SSH HOST KEY FINGERPRINTS-----
-----BEGIN SSH HOST KEY KEYS-----\r
ecdsa-sha2-nistp256 AAAAE2Vj root@ip\r
ssh-ed25519 AAAAC3Nz+/= root@ip\r
-----END SSH HOST KEY KEYS-----"""
    assert read_host_keys(console, host="ec2-1") == [
        "ec2-1 ecdsa-sha2-nistp256 AAAAE2Vj",
        "ec2-1 ssh-ed25519 AAAAC3Nz+/=",
    ]
    assert read_host_keys("still booting", host="ec2-1") == []


def test_the_last_line_is_the_bar_as_it_stands() -> None:
    assert last_line("a\nimages:  10%|#  |\rimages:  50%|##  |\r\n\n") == "images:  50%|##  |"
    assert last_line("") == ""


def test_idle_time_is_told() -> None:
    assert describe_idle(None, 30).startswith("not known yet")
    assert describe_idle(10, 30) == "about 10 min; it ends itself in about 20 min unless something runs"
    assert "about 0 min unless" in describe_idle(45, 30)
    for minutes in (1, 30, 10080):  # CloudWatch is never asked for too many points
        request = idle_request("j-1", now=datetime(2026, 11, 24, tzinfo=UTC), minutes=minutes).arguments
        assert minutes * 60 / request["Period"] <= 1440
        assert request["Period"] % 60 == 0


def test_a_node_without_an_end_ended_with_its_cluster() -> None:
    began = datetime(2026, 11, 24, tzinfo=UTC)
    entry = {"InstanceType": "m5.xlarge", "Market": "SPOT", "Status": {"Timeline": {"CreationDateTime": began}}}
    node = read_node(entry, cluster_ended=began + timedelta(minutes=5))
    assert (node.market, node.ended) == ("SPOT", began + timedelta(minutes=5))
    assert read_node(entry, cluster_ended=None).ended is None


def test_graviton_is_told_from_its_name() -> None:
    kinds = ("m5.xlarge", "c6i.xlarge", "g4dn.xlarge", "c7g.xlarge", "m6gd.large")
    assert [machine_of(kind) for kind in kinds] == ["x86_64"] * 3 + ["aarch64"] * 2


def test_archives_hold_what_the_nodes_import(tmp_path: Path) -> None:
    params = tmp_path / "emr.yaml"
    params.write_text("target: emr\n")
    archives = build_archives(repository(), params_file=params)
    names = {name: set(zipfile.ZipFile(io.BytesIO(content)).namelist()) for name, content in archives.items()}
    assert "fruits/__init__.py" in names["fruits.zip"]
    wanted = {"lib/fruits/params.py", "lib/fruits_cli/cli.py", "notebooks/pipeline.ipynb", "params/MINI.yaml"}
    assert wanted | {"params/emr.yaml"} <= names["repository.zip"]
    assert not any(name.startswith("fruits_cli") for name in names["fruits.zip"])
    assert not any("__pycache__" in name or ".ipynb_checkpoints" in name for part in names.values() for name in part)
    assert build_archives(repository(), params_file=params) == archives  # the same code, the same bytes
