"""A file behind a URL, read by byte ranges; a request that fails is repeated."""

import errno
import io
import os
import re
import time
from pathlib import Path

import requests

from fruits.errors import FruitsError

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0
TIMEOUT_SECONDS = (10, 60)
# The directory of a small archive, or the record that says where that of a large one begins.
TAIL_BYTES = 64 * 2**10


def hide_secrets(archive: str | Path) -> str:
    """Name an archive without the parts of a URL that may be secret: user, password, query, fragment."""
    url = re.sub(r"//[^/]*@", "//", re.split(r"[?#]", str(archive))[0])
    return url if "://" in url else str(archive)


class HttpFile(io.RawIOBase):
    """A seekable file for `zipfile`, which keeps the range that it has read last.

    A read within one of `blocks`, pairs of (first byte, byte after the last), requests the whole block.
    """

    def __init__(self, url: str) -> None:
        self.blocks: list[tuple[int, int]] = []
        self._url = url
        self._session = requests.Session()
        self._position = 0
        self._fetch(f"-{TAIL_BYTES}")

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        super().close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next read; nothing is requested."""
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "it points outside itself")
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Return the bytes from the position on, at most `size` of them."""
        start, stop = self._position, self._size if size < 0 else min(self._position + size, self._size)
        if start >= stop:
            return b""
        if start < self._first or stop > self._first + len(self._content):
            first, after = next((block for block in self.blocks if block[0] <= start < block[1]), (start, stop))
            self._fetch(f"{first}-{max(after, stop) - 1}")
        self._position = stop
        return self._content[start - self._first : stop - self._first]

    def _fetch(self, span: str) -> None:
        """Keep a range, `first-last` or `-length`; ask several times if the network fails."""
        for attempt in range(ATTEMPTS):
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1) if attempt else 0)
            try:
                self._first, self._content, self._size = self._request(span)
            except requests.RequestException as error:
                # Not str(error): requests' own messages contain the query, which may be a signature.
                reason = str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
            else:
                return
        origin = hide_secrets(self._url)
        raise FruitsError(
            f"{origin}: {reason}, {ATTEMPTS} times; check address and network, or use a copy: --zip FILE."
        )

    def _request(self, span: str) -> tuple[int, bytes, int]:
        """Return the first position, the bytes, and the size of the whole file."""
        headers = {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
        with self._session.get(self._url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            status = f"HTTP {response.status_code} {response.reason}"
            if response.status_code in {408, 429} or response.status_code >= 500:
                raise requests.HTTPError(status)
            answered = re.match(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
            # Checked before the body is read: without ranges the body is the whole archive.
            if response.status_code != 206 or not answered:
                origin = hide_secrets(self._url)
                raise FruitsError(f"{origin} answered {status}, not a byte range; check it, or use a copy: --zip FILE.")
            content = response.content
        first, last, size = map(int, answered.groups())
        as_asked = last == size - 1 if span.startswith("-") else span == f"{first}-{last}"
        if not as_asked or len(content) != last - first + 1:
            raise requests.HTTPError(f"bytes {span} were asked, {first}-{last} announced, {len(content)} sent")
        return first, content, size
