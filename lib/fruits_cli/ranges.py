"""Byte ranges of a URL, asked for several times if the network fails."""

import io
import re
import time
from pathlib import Path

import requests
from remotezip import OutOfBound, PartialBuffer

from fruits.errors import FruitsError

ATTEMPTS = 4
BACKOFF_SECONDS = 1.0
TIMEOUT_SECONDS = (10, 60)


def redact(archive: str | Path) -> str:
    """Name an archive without what may be secret in a URL: user, password, query, fragment."""
    url = re.sub(r"//[^/]*@", "//", re.split(r"[?#]", str(archive))[0])
    return url if "://" in url else str(archive)


class Ranges:
    """Read byte ranges of a URL for RemoteZip (its `fetcher`); a block comes in one request."""

    def __init__(self, url: str, *, session: requests.Session) -> None:
        self.bytes_read = 0
        self.blocks: list[tuple[int, int]] = []
        self._url = url
        self._session = session

    def fetch(self, data_range: tuple[int, int | None], stream: bool = False) -> PartialBuffer:
        """Return the bytes from the first to the last position; (-n, None) are the last n."""
        start, last = data_range
        if last is not None and not 0 <= start <= last:
            raise OutOfBound("it points outside itself")
        first, stop = next((block for block in self.blocks if block[0] <= start < block[1]), (start, (last or 0) + 1))
        offset, content = self._read(f"{start}" if last is None else f"{first}-{stop - 1}")
        buffer = PartialBuffer(io.BytesIO(content), offset, len(content), stream=False)
        # RemoteIO looks into the buffer it has before it asks again: the block's other members cost no request.
        buffer.seek(max(start, offset), 0)
        return buffer

    def _read(self, span: str) -> tuple[int, bytes]:
        """Request a span, several times if the network fails, and return its offset and bytes."""
        origin = redact(self._url)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                return self._request(span, origin=origin)
            except requests.RequestException as error:
                # Not str(error): requests' own messages carry the query, which may be a signature.
                reason = str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
        raise FruitsError(
            f"{origin}: {reason}, {ATTEMPTS} times; check address and network, or use a copy: --zip FILE."
        )

    def _request(self, span: str, *, origin: str) -> tuple[int, bytes]:
        headers = {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
        with self._session.get(self._url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            status = f"HTTP {response.status_code} {response.reason}"
            if response.status_code in {408, 429} or response.status_code >= 500:
                raise requests.HTTPError(status)
            answered = re.match(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
            # Before the body is read: without ranges it is the whole archive.
            if response.status_code != 206 or not answered:
                raise FruitsError(f"{origin} answered {status}, not a byte range; check it, or use a copy: --zip FILE.")
            content = response.content
        self.bytes_read += len(content)
        first, last, size = map(int, answered.groups())
        as_asked = last == size - 1 if span.startswith("-") else span == f"{first}-{last}"
        if not as_asked or len(content) != last - first + 1:
            raise requests.HTTPError(f"bytes {span} were asked, {first}-{last} announced, {len(content)} sent")
        return first, content
