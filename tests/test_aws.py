"""The AWS account: what a double of AWS on loopback answers, and what is said of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fruits import aws
from fruits.errors import FruitsError, UsageError

ANSWER = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)
REFUSAL = "<ErrorResponse><Error><Code>{}</Code><Message>No. </Message></Error></ErrorResponse>"


class Handler(BaseHTTPRequestHandler):
    """Answer as the path in AWS_ENDPOINT_URL says: with the account, or with an error code."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code = self.path.strip("/")
        body = (REFUSAL.format(code) if code else ANSWER).encode()
        self.send_response(403 if code else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str) -> Path:
    """Give the process keys that the double takes, and no other settings; return a folder without memory."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return tmp_path


def remember(home: Path, **changes: str) -> None:
    kept = {"account": "123456789012", "region": "eu-west-1", "name": "fruits", "bucket": "mine"} | changes
    (home / aws.STATE_FILE).write_text(json.dumps(kept))


def test_account_region_and_what_was_made_are_told(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert aws.describe_account(keys) == "account 123456789012, region eu-central-1; made from here: nothing"
    remember(keys)
    made = "made from here: name fruits, bucket mine, region eu-west-1"
    assert aws.describe_account(keys) == f"account 123456789012, region eu-west-1; {made}"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert aws.describe_account(keys) == f"account 123456789012, region eu-west-3; {made}"


def test_another_account_than_that_of_what_was_made_is_refused(keys: Path) -> None:
    remember(keys, account="210987654321")
    with pytest.raises(UsageError, match=r"account 123456789012: what was made from here is in account 210987654321"):
        aws.describe_account(keys)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-2", "eu-central-2"])
def test_a_region_outside_of_the_eu_is_refused(keys: Path, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(FruitsError, match=f"region {region} is not in the EU; export AWS_REGION=eu-central-1 "):
        aws.describe_account(keys)


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("ExpiredToken", "log in again"),
        ("InvalidClientTokenId", "these credentials are not valid"),
        ("Unheard", "repeat the command"),
    ],
)
def test_a_refusal_of_aws_is_a_sentence(
    keys: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, code: str, cure: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{endpoint}/{code}")
    with pytest.raises(FruitsError, match=f"AWS refused GetCallerIdentity: {code}: No; {cure}"):
        aws.describe_account(keys)


def test_missing_keys_and_a_dead_network_are_sentences(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        FruitsError, match=r'Could not connect to the endpoint URL: "http://127.0.0.1:1/"; check the net'
    ):
        aws.describe_account(keys)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(FruitsError, match="no AWS credentials were found; run `aws configure`"):
        aws.describe_account(keys)
    assert aws.explain(ValueError("x")) is None


def test_a_profile_that_is_missing_and_a_damaged_memory_are_sentences(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(FruitsError, match=r"The config profile \(nobody\) could not be found; check the network"):
        aws.describe_account(keys)
    for text in ("{", "[1]", "\xff"):
        (keys / aws.STATE_FILE).write_text(text, encoding="latin-1")
        with pytest.raises(UsageError, match=rf"{aws.STATE_FILE} is damaged \(.*\); write account, region, name"):
            aws.describe_account(keys)
