"""No secret lands where people read or keep it."""

import json

import pytest

from fruits.redaction import redact_secrets

KEY = "AKIA" + 4 * "TEST"
HIDDEN = 8 * "wJ/+="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY}.", "key [redacted]."),
        (f"{HIDDEN} was refused", "[redacted] was refused"),
        ("https://b.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=abc&X-Amz-Date=1", None),
        (
            "<td>/in?X-Amz-Algorithm=AWS4&amp;X-Amz-Signature=abc</td>",
            "<td>/in?X-Amz-Algorithm=[redacted]&amp;X-Amz-Signature=[redacted]</td>",
        ),
        ("http://me:pass@host/x.zip", "http://[redacted]@host/x.zip"),
        ("s3://bucket/data/Apple Red 1/a@b.jpg", "s3://bucket/data/Apple Red 1/a@b.jpg"),
        ("Training/100%_?=#.jpg, token of thanks", "Training/100%_?=#.jpg, token of thanks"),
    ],
)
def test_secrets_go_and_the_rest_stays(text: str, shown: str | None) -> None:
    redacted = redact_secrets(text, {"AWS_SECRET_ACCESS_KEY": HIDDEN})
    if shown is None:
        shown = "https://b.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=[redacted]&X-Amz-Date=[redacted]"
    assert redacted == shown


def test_a_notebook_stays_a_notebook() -> None:
    notebook = {"source": [f'url = "https://x/y?X-Amz-Credential={KEY}%2F2026&a=1"\n', "print(url)\n"]}
    redacted = json.loads(redact_secrets(json.dumps(notebook)))
    assert KEY not in json.dumps(redacted)
    assert redacted["source"][1] == "print(url)\n"


def test_empty_and_short_variables_redact_nothing() -> None:
    assert redact_secrets("abc", {"AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "b"}) == "abc"
