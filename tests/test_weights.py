"""The weights' file: named, cached or downloaded from a loopback server, and every refusal one sentence, soon."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import make_weights_file

from fruits.errors import FruitsError, UsageError
from fruits.features.weights import find_weights, keras_cache
from fruits.folders import hash_file
from fruits.networks import DEFAULT

KERAS_FILE = DEFAULT.file.format(size=DEFAULT.size)
CONTENT = make_weights_file()
DOWNLOADS = """
import json, sys
from pathlib import Path
from fruits.errors import FruitsError
from fruits.features.weights import find_weights

answers = {}
for folder in ("short", "good", "short", "portal"):  # The second `short` finds the good file in the cache.
    try:
        file = find_weights("imagenet", base=Path("/"), url=f"{sys.argv[1]}/{folder}/")
        answers.setdefault(folder, []).append([str(file), file.stat().st_size])
        file.unlink() if len(answers) == 2 and len(answers["short"]) == 2 else None
    except FruitsError as error:
        answers.setdefault(folder, []).append(str(error))
print(json.dumps(answers))
"""


class Handler(BaseHTTPRequestHandler):
    """Serve /good/, half of /short/, a log-in page for /portal/, nonsense for /garbled/, else 404."""

    server: Any

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.server.requests.append((self.command, kind))
        if kind == "garbled":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        self.send_response(200 if kind in ("good", "short", "portal") else 404)
        body = {"good": CONTENT, "short": CONTENT[:5000], "portal": b"<html>Log in</html>"}.get(kind, b"")
        self.send_header("Content-Length", str(len(CONTENT if kind == "short" else body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        known: Any = httpd
        known.url, known.requests = f"http://127.0.0.1:{httpd.server_port}", []
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield known
        httpd.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert keras_cache() == tmp_path / "keras" / "models"
    return keras_cache()


def test_a_user_without_home_has_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)
    assert keras_cache() == Path(tempfile.gettempdir(), ".keras/models")


@pytest.fixture(scope="module")
def downloads(server: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What one process got from three folders, one after the other, and its cache."""
    home = tmp_path_factory.mktemp("keras")
    command = [sys.executable, "-c", DOWNLOADS, server.url]
    done = subprocess.run(command, env={**os.environ, "KERAS_HOME": str(home)}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1]), home / "models"


def test_a_path_is_relative_to_the_base_and_random_has_no_file(tmp_path: Path) -> None:
    (tmp_path / "mine.h5").write_bytes(CONTENT)
    assert find_weights("mine.h5", base=tmp_path) == tmp_path / "mine.h5"
    assert find_weights("random", base=tmp_path) is None
    assert hash_file(tmp_path / "mine.h5") == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(("source", "word"), [("no.h5", "no file"), ("page.h5", "cannot be read")])
def test_what_is_no_weights_file_is_a_usage_error(source: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "page.h5").write_bytes(b"<html>")
    with pytest.raises(UsageError, match=word):
        find_weights(source, base=tmp_path)


def test_a_relative_path_needs_a_base() -> None:
    with pytest.raises(UsageError, match=r"mine\.h5 is relative, and no repository is here; name s3://"):
        find_weights("mine.h5", base=None)


def test_a_file_with_other_tensors_is_refused_without_tensorflow(tmp_path: Path) -> None:
    file = tmp_path / "other.h5"
    with h5py.File(file, "w") as network:
        network["dense/kernel"] = [[0.0] * 5] * 7
    with pytest.raises(UsageError, match=r"holds 1 tensors, 35 parameters; .*260 tensors, 2,257,984"):
        find_weights("other.h5", base=tmp_path)
    file.write_bytes(file.read_bytes()[:-600])
    with pytest.raises(UsageError, match="cannot be read"):
        find_weights("other.h5", base=tmp_path)


def test_a_cached_file_is_used_without_a_request(cache: Path, server: Any) -> None:
    cache.mkdir(parents=True)
    (cache / KERAS_FILE).write_bytes(CONTENT)
    before = len(server.requests)
    assert find_weights("imagenet", base=cache, url=f"{server.url}/good/") == cache / KERAS_FILE
    assert len(server.requests) == before


@pytest.mark.parametrize("kind", ["missing", "garbled", "refused", "silent", "swallowed"])
def test_no_download_is_one_sentence_with_the_ways_out_within_15_s(
    kind: str, cache: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, socket.socket() as waiting:
        address = deaf.getsockname()
        if kind == "swallowed":  # A full queue drops the next SYN, as a firewall does; Google has many addresses.
            waiting.connect(address)
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 3
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        url = server.url if kind in ("missing", "garbled") else f"http://127.0.0.1:{address[1]}"
        if kind == "refused":
            deaf.close()
        start = time.monotonic()
        with pytest.raises(FruitsError, match=r"weights=random") as caught:
            find_weights("imagenet", base=cache, url=f"{url}/{kind}/")
        assert time.monotonic() - start < 15
    assert str(cache) in str(caught.value)
    assert ".h5 file" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.tensorflow
def test_a_download_lands_in_the_cache_and_is_asked_for_once(downloads: Any, server: Any) -> None:
    answers, cache = downloads
    found = [str(cache / KERAS_FILE), len(CONTENT)]
    assert answers["good"] == [found]
    assert answers["short"][1] == found
    asked = [(method, kind) for method, kind in server.requests if kind in ("good", "short")]
    assert asked == [("HEAD", "short"), ("GET", "short"), ("HEAD", "good"), ("GET", "good")]


@pytest.mark.tensorflow
def test_half_a_file_or_a_log_in_page_is_refused_and_not_kept(downloads: Any) -> None:
    answers, cache = downloads
    assert "weights=random" in answers["short"][0]
    assert "weights=random" in answers["portal"][0]
    assert not (cache / KERAS_FILE).exists()
