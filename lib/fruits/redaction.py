"""Secrets taken out of texts that people read or keep: messages, notebooks, reports."""

import os
import re
from collections.abc import Mapping

_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
# An access key id has 20 characters (IAM user guide, "IAM identifiers").
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
# The query of a presigned URL is its key; user and password may stand before the host.
_SIGNED = re.compile(
    r"((?:[?&]|&amp;|%26|\\u0026)(?:X-Amz-[A-Za-z-]+|Signature|AWSAccessKeyId|sig|token|Expires)=)[^&\s\"'\\<>)]+",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"://[^/\s@\"']+@")
_GONE = "[redacted]"


def redact_secrets(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Replace AWS keys, what signs a presigned URL, and logins in URLs by `[redacted]`.

    In a notebook as JSON no quote or brace is touched. The keys in `environ` are found literally.
    """
    for name in _SECRET_VARIABLES:
        if len(value := environ.get(name, "")) >= 8:
            text = text.replace(value, _GONE)
    # Most lines of an event log of hundreds of MB hold neither, which is found out in a hundredth of the time.
    if "AKIA" in text or "ASIA" in text:
        text = _KEY_ID.sub(_GONE, text)
    if "=" in text:
        text = _SIGNED.sub(rf"\1{_GONE}", text)
    return _LOGIN.sub(f"://{_GONE}@", text)
