"""The fetch, against a real server on the loopback that knows byte ranges and can break in several ways."""

import functools
import io
import struct
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from fruits.errors import FruitsError, UsageError
from fruits.images import open_images
from fruits.images.selection import select_images
from fruits_cli import fetch, http_file
from fruits_cli.fetch import FetchReport, fetch_images

ROOT = "fruits-360_dataset/fruits-360"
SIGNED = "X-Amz-Signature=abcdef"


@dataclass
class Archive:
    """What the server serves, how it fails, and what it has sent."""

    content: bytes = field(repr=False)
    status: int = 206
    healthy_requests: int = 1_000_000
    failures: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answer one byte range, or fail as the archive says."""

    protocol_version = "HTTP/1.1"
    timeout = 5
    server: Any

    def do_GET(self) -> None:
        archive: Archive = self.server.archive
        failure = archive.failures.pop(0) if archive.failures else ""
        # A connection that the server closes after a whole answer may fail the next request, at random.
        self.close_connection = failure == "half"
        if len(archive.sent) >= archive.healthy_requests or failure == "hang up":
            self.close_connection = True
            return
        if archive.status != 206 or failure == "503":
            self.answer(503 if failure else archive.status, b"<html>")
            return
        size = len(archive.content)
        start, last = self.headers["Range"].removeprefix("bytes=").split("-")
        first = int(start) if start else max(0, size - int(last))
        stop = int(last) + 1 if start else size
        if failure == "another range":
            stop -= 1
        body = archive.content[first:stop]
        archive.sent.append(len(body))
        content_range = {"Content-Range": f"bytes {first}-{stop - 1}/{size}"}
        self.answer(206, body, cut=len(body) // 2 if failure == "half" else None, headers=content_range)

    def answer(
        self, status: int, body: bytes, *, cut: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *args: object) -> None:
        """Keep the test's stderr for the progress bar."""


def image_bytes(name: str, *, size: int) -> bytes:
    """Make bytes that do not compress, another sequence for every name."""
    return np.random.default_rng(list(name.encode())).bytes(size)


def zip_bytes(contents: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


@functools.cache
def members() -> dict[str, bytes]:
    """Lay out two apples, 12 images each, before half a megabyte of pears."""
    counts = {"Training/Apple Braeburn": 12, "Training/Apple Golden 1": 12, "Training/Pear": 160, "Test/Pear": 2}
    names = [f"{ROOT}/{folder}/{n}_100.jpg" for folder, count in counts.items() for n in range(count)]
    return {name: image_bytes(name, size=3_000) for name in names}


@pytest.fixture(autouse=True)
def quick_and_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_file, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@functools.cache
def whole() -> bytes:
    return zip_bytes(members())


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Serve the archive of `members` on a free port of the loopback."""
    served = Archive(whole())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    server.archive = served  # type: ignore[attr-defined]
    served.url = f"http://127.0.0.1:{server.server_port}/fruits.zip?{SIGNED}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def fetch_apples(destination: Path, archive: str | Path, **changes: Any) -> FetchReport:
    asked: dict[str, Any] = {"split": "Training", "classes": ["Apple*"], "max_images": 0, "seed": 42}
    return fetch_images(destination, archive=archive, **{**asked, **changes})


def files_below(folder: Path) -> dict[str, bytes]:
    """Read all files but the lock of those who work in the folder."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".in-use"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def apples() -> dict[str, bytes]:
    return {name.removeprefix(f"{ROOT}/"): content for name, content in members().items() if "/Training/Apple" in name}


def test_fetches_what_is_asked_for_and_once(
    tmp_path: Path, archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fetch_apples(tmp_path, archive.url)
    out, err = capsys.readouterr()
    assert (out, "24/24" in err, "image" in err) == ("", True, True)  # progress goes to stderr
    assert files_below(tmp_path) == apples()
    assert report == FetchReport(wanted=24, fetched=24)
    assert sum(archive.sent) < len(archive.content) / 2
    archive.sent.clear()
    assert fetch_apples(tmp_path, archive.url) == FetchReport(wanted=24, fetched=0)
    assert len(archive.sent) == 1  # the directory

    for content in (b"of another length", bytes(3_000)):
        (tmp_path / "Training/Apple Braeburn/3_100.jpg").write_bytes(content)
        assert fetch_apples(tmp_path, archive.url).fetched == 1
        assert files_below(tmp_path) == apples()


def test_the_few_images_of_a_mode_are_those_the_whole_folder_would_give(tmp_path: Path, archive: Archive) -> None:
    fetch_apples(tmp_path / "all", archive.url)
    expected = select_images(
        open_images(tmp_path / "all").list_images(split="Training", classes=["Apple*"]), max_images=5, seed=42
    )

    report = fetch_apples(tmp_path / "few", archive.url, max_images=5)

    few = open_images(tmp_path / "few").list_images(split="Training", classes=["Apple*"])
    assert report.wanted == 5
    columns = ["path", "label", "split", "length"]
    pd.testing.assert_frame_equal(few[columns], expected[columns])


def test_neighbours_come_in_one_request(tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", 64 * 1024)

    assert fetch_apples(tmp_path, archive.url, classes=["*"]).fetched == 184
    assert len(archive.sent) <= 1 + -(-len(archive.content) // (60 * 1024))
    assert max(archive.sent) <= 64 * 1024


def test_a_wide_gap_is_not_read(tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "GAP_BYTES", 1_000)
    fetch_apples(tmp_path, archive.url, max_images=3)
    assert sum(archive.sent) < 64 * 1024 + 4 * 3_200


def test_a_large_directory_is_read_once(tmp_path: Path, archive: Archive) -> None:
    archive.content = zip_bytes({f"Training/Fig/{n}_100.jpg": b"fig %d" % n for n in range(1_500)})

    assert fetch_apples(tmp_path, archive.url, classes=["Fig"]).fetched == 1_500
    assert len(archive.sent) == 3


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", 10_000)
    archive.healthy_requests = 4
    with pytest.raises(FruitsError, match=r"9 of 24 images are in .*the same command goes on") as failure:
        fetch_apples(tmp_path, archive.url)
    assert SIGNED not in str(failure.value)
    assert "ConnectionError, 4 times" in str(failure.value)
    archive.healthy_requests = 1_000
    assert fetch_apples(tmp_path, archive.url) == FetchReport(wanted=24, fetched=15)
    assert files_below(tmp_path) == apples()


@pytest.mark.parametrize("failure", ["hang up", "half", "503", "another range"])
def test_a_short_failure_is_retried(tmp_path: Path, archive: Archive, failure: str) -> None:
    archive.failures = [failure, failure, "", failure, failure]

    assert fetch_apples(tmp_path, archive.url).fetched == 24
    assert files_below(tmp_path) == apples()
    assert not archive.failures


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, "HTTP 200 OK, not a byte range"), (403, "HTTP 403"), (404, "HTTP 404"), (503, "HTTP 503.*4 times")],
)
def test_a_server_that_gives_no_ranges(tmp_path: Path, archive: Archive, status: int, said: str) -> None:
    archive.status = status

    with pytest.raises(FruitsError, match=rf"^http://127.0.0.1:\d+/fruits.zip.*{said}.*--zip FILE") as failure:
        fetch_apples(tmp_path, archive.url)

    assert SIGNED not in str(failure.value)
    assert not files_below(tmp_path)


@pytest.mark.parametrize(
    "content", [b"x", b"<html>", b"\0" * 100_000, whole()[:-50]], ids=["tiny", "html", "zeros", "cut"]
)
def test_bytes_that_are_no_zip_file(tmp_path: Path, archive: Archive, content: bytes) -> None:
    archive.content = content
    local = tmp_path / "some.zip"
    local.write_bytes(content)

    for source in (archive.url, local):
        with pytest.raises(FruitsError, match=r"(/fruits|some)\.zip is not a zip file") as failure:
            fetch_apples(tmp_path / "images", source)
        assert SIGNED not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://me:pw@127.0.0.1:9/fruits.zip?{SIGNED}", "http://127.0.0.1:9/fruits.zip: ConnectionError"),
        ("http://", "http://: InvalidURL, 4 times; check address"),
        ("s3://bucket/fruits.zip", "s3://bucket/fruits.zip cannot be opened .*name a zip file or a URL"),
        ("missing.zip", r"cannot be opened \(No such file.*name a zip file or a URL"),
        ("/", r"cannot be opened \(Is a .*name a zip file or a URL"),
    ],
)
def test_an_address_that_leads_nowhere(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(FruitsError, match=said) as failure:
        fetch_apples(tmp_path, url)
    assert "pw" not in str(failure.value)
    assert SIGNED not in str(failure.value)


EVIL = [
    "Training/../evil.jpg", "Training/Apple/../../../evil.jpg", "../Training/Apple/evil.jpg", "Training//evil.jpg",
    r"C:\..\Training\Apple\evil.jpg", "./Training/../Training/Apple/evil.jpg", "Training/@eaDir/evil.jpg",
    "#recycle/Training/Apple/evil.jpg", "Training/Apple/~$evil.jpg", r"Training/Apple/..\..\evil.jpg",
    r"Training/..\Apple/evil.jpg", "Training/Apple/.evil.jpg", "__MACOSX/Training/Apple/evil.jpg",
    "Training/Apple/evil.sh",
]  # fmt: skip
FOREIGN = [
    r"Training\Apple\1.jpg", r"fruits\fruits-360\Training\Apple\1.jpg", "./Training/Apple/1.jpg",
    r".\Training\.\Apple\1.jpg", "/Training/Apple/1.jpg", "//server/share/Training/Apple/1.jpg",
    r"\\server\share\Training\Apple\1.jpg", r"C:\Users\me\Training\Apple\1.jpg", "c:Training/Apple/1.jpg",
    "Training//Apple///1.jpg",
]  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
def test_a_name_that_leads_elsewhere_is_never_written(tmp_path: Path, archive: Archive, evil: str) -> None:
    archive.content = zip_bytes({evil: b"evil", "Training/Apple/0_100.jpg": b"apple"})
    assert fetch_apples(tmp_path / "a/b/c", archive.url, classes=["*"]).wanted == 1
    assert files_below(tmp_path) == {"a/b/c/Training/Apple/0_100.jpg": b"apple"}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Name a zip file on this machine, which a test fills."""
    return tmp_path / "fruits.zip"


@pytest.mark.parametrize("name", FOREIGN)
def test_names_as_other_programs_write_them_are_brought_below_the_destination(
    tmp_path: Path, local: Path, name: str
) -> None:
    local.write_bytes(zip_bytes({name: b"apple", name[::-1]: b"no", f"{name}.txt": b"no"}))
    fetch_apples(tmp_path / "a/b/c", local)
    assert files_below(tmp_path / "a") == {"b/c/Training/Apple/1.jpg": b"apple"}


def edit_zip(
    content: bytes, *, flags: int = 0, method: int | None = None, names: Mapping[bytes, bytes] | None = None
) -> bytes:
    """Change flags, method and names of all members in their own headers and in the directory."""
    edited = bytearray(content)
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = edited.find(mark)
        while start >= 0:
            edited[start + place] |= flags
            if method is not None:
                edited[start + place + 2 : start + place + 4] = method.to_bytes(2, "little")
            start = edited.find(mark, start + 4)
    for old, new in (names or {}).items():
        assert len(old) == len(new)
        edited = edited.replace(old, new)
    return bytes(edited)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"method": 9}, r"is compressed by Deflate64 \(method 9\), which is not read"),
        ({"method": 98}, r"is compressed by PPMd \(method 98\), which is not read"),
        ({"method": 95}, r"is compressed by XZ \(method 95\), which is not read"),
        ({"method": 6}, r"is compressed by an old method \(method 6\), which is not read"),
        ({"flags": 0x1}, "is encrypted"),
        ({"flags": 0x41}, "is encrypted"),
        ({"flags": 0x1, "method": 99}, "is encrypted"),
    ],
)
def test_archives_that_cannot_be_unpacked_are_not_called_damaged(
    tmp_path: Path, local: Path, edit: dict[str, Any], said: str
) -> None:
    local.write_bytes(edit_zip(zip_bytes({"Training/Apple/1.jpg": b"apple"}), **edit))

    with pytest.raises(UsageError, match=rf"fruits\.zip: Training/Apple/1\.jpg {said}; unpack the archive with 7-Zip"):
        fetch_apples(tmp_path / "images", local)
    assert not files_below(tmp_path / "images")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_read_and_their_damage_is_told(tmp_path: Path, local: Path, method: int) -> None:
    with zipfile.ZipFile(local, "w", method) as archive:
        archive.writestr("Training/Apple/1.jpg", bytes(3000))
    assert fetch_apples(tmp_path / "images", local).fetched == 1

    damaged = bytearray(local.read_bytes())
    damaged[60:70] = b"\xff" * 10
    local.write_bytes(damaged)
    with pytest.raises(FruitsError, match=r"1\.jpg is damaged in the archive"):
        fetch_apples(tmp_path / "again", local)


UNICODE_PATH = struct.pack(
    "<HHBI", 0x7075, 5 + len("Training/Pêche/1.jpg".encode()), 1, zlib.crc32(b"Training/P_che/1.jpg")
)


@pytest.mark.parametrize(
    ("name", "edit", "extra"),
    [
        ("Training/Pêche/1.jpg", {}, b""),
        ("Training/P__che/1.jpg", {"names": {b"P__che": "Pêche".encode()}}, b""),
        ("Training/P_che/1.jpg", {"names": {b"P_che": "Pêche".encode("cp437")}}, b""),
        ("Training/P_che/1.jpg", {}, UNICODE_PATH + "Training/Pêche/1.jpg".encode()),
        (unicodedata.normalize("NFD", "Training/Pêche/1.jpg"), {}, b""),
    ],
    ids=["UTF-8", "UTF-8 without the flag", "code page 437", "Unicode path", "NFD"],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_every_spelling_of_accents(
    tmp_path: Path, local: Path, name: str, edit: dict[str, Any], extra: bytes, form: Literal["NFC", "NFD"]
) -> None:
    member = zipfile.ZipInfo(name)
    member.extra = extra
    with zipfile.ZipFile(local, "w") as archive:
        archive.writestr(member, b"peach")
    local.write_bytes(edit_zip(local.read_bytes(), **edit))
    fetch_apples(tmp_path / "images", local, classes=[unicodedata.normalize(form, "Pêche")])
    (found,) = files_below(tmp_path / "images")
    assert unicodedata.normalize("NFC", found) == "Training/Pêche/1.jpg"


SMALL = {f"fruits-360-original-size/{split}/Apple/0.jpg": b"large" for split in ("Training", "Test", "Validation")}


@pytest.mark.parametrize(
    ("contents", "asked", "found"),
    [
        (
            {f"Validation/{name}/1.jfif": b"x" for name in ("Pear [ripe]", "Pear r")},
            {"split": "Validation", "classes": ["Pear [ripe]"]},
            {"Validation/Pear [ripe]/1.jfif": b"x"},
        ),
        (
            {"deep/er/Training/Apfel grün 苹果/r_0 á.JPG": b"1", "deep/er/Training/Apple [x] #1?/%20.jpeg": b"2"},
            {"classes": ["Ap*"]},
            {"Training/Apfel grün 苹果/r_0 á.JPG": b"1", "Training/Apple [x] #1?/%20.jpeg": b"2"},
        ),
        (
            {
                **SMALL,
                f"{ROOT}/Training/Apple/1.jpg": b"1",
                f"{ROOT}/Training/Apple/2.jpg": b"2",
                f"{ROOT}/x/a.jpg": b"",
            },
            {},
            {"Training/Apple/1.jpg": b"1", "Training/Apple/2.jpg": b"2"},
        ),
    ],
    ids=["a class called like the glob", "any alphabet", "the root with the most images of the split"],
)
def test_what_is_taken_of_other_archives(
    tmp_path: Path, archive: Archive, contents: dict[str, bytes], asked: dict[str, Any], found: dict[str, bytes]
) -> None:
    archive.content = zip_bytes(contents)
    fetch_apples(tmp_path, archive.url, **asked)
    assert files_below(tmp_path) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"classes": ["Apple*", "Aple*"]},
            r"'Aple\*' matches none of the 3 classes of the archive; there are, for example, 'Apple Braeb",
        ),
        ({"classes": ["apple*"]}, r"'apple\*' matches none"),
        ({"split": "Validation"}, r"holds no Validation/<class>/<image>; found: 'Test', 'Training'"),
    ],
)
def test_what_the_archive_lacks(tmp_path: Path, archive: Archive, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fetch_apples(tmp_path, archive.url, **asked)
    assert not files_below(tmp_path)


def test_a_local_archive_goes_the_same_way_and_a_damaged_member_is_not_written(
    tmp_path: Path, archive: Archive, local: Path
) -> None:
    local.write_bytes(whole())
    assert fetch_apples(tmp_path / "whole", local) == FetchReport(wanted=24, fetched=24)
    assert files_below(tmp_path / "whole") == apples()

    damaged = bytearray(archive.content)
    damaged[archive.content.index(members()[f"{ROOT}/Training/Apple Golden 1/0_100.jpg"][:64])] ^= 0xFF
    archive.content = bytes(damaged)
    local.write_bytes(damaged)
    for source, folder in ((archive.url, "from url"), (local, "from file")):
        with pytest.raises(FruitsError, match=r"Golden 1/0_100.jpg is damaged .*12 of 24 images"):
            fetch_apples(tmp_path / folder, source)
        assert len(files_below(tmp_path / folder)) == 12


def test_a_destination_that_cannot_be_written(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "images/Training").mkdir(parents=True)
    (tmp_path / "images/Training/Apple Golden 1").touch()

    with pytest.raises(FruitsError, match=r"file cannot be written .*0 of 24 images"):
        fetch_apples(tmp_path / "file", archive.url)
    with pytest.raises(FruitsError, match=r"Golden 1/0_100.jpg cannot be written .*12 of 24 images"):
        fetch_apples(tmp_path / "images", archive.url)


def test_images_that_vanish_during_the_fetch_are_noticed(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits_cli.fetch.write_bytes", lambda path, content: None)

    with pytest.raises(FruitsError, match=r"something else changes .*0 of 24 images"):
        fetch_apples(tmp_path, archive.url)
