"""The AWS account of a person: regions, what the commands of `emr/` remember, errors of AWS in one sentence."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from fruits.errors import FruitsError, UsageError

STATE_FILE = ".fruits-aws.json"
# Only the EU: eu-west-2 (London) and eu-central-2 (Zurich) have the prefix, but are not in the EU.
EU_REGIONS = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
CHECK_NETWORK = "check the network, the region and `aws configure list`"
_PERMISSION = "your user or role lacks this permission; emr/policy.json lists those needed"
_CURES = {
    "AccessDenied": _PERMISSION,
    "UnauthorizedOperation": _PERMISSION,
    "ExpiredToken": "log in again (`aws sso login`, or new keys)",
    "InvalidClientTokenId": "these credentials are not valid; check `aws configure list`",
    "SignatureDoesNotMatch": "the secret key is wrong; check `aws configure list`",
    "RequestTimeTooSkewed": "set this machine's clock",
}


def read_state(home: Path) -> dict[str, str]:
    """Return what is remembered of the account: account, region, name and bucket; empty before they are."""
    file = home / STATE_FILE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{file} is damaged ({error})", cure="write account, region, name and bucket into it, or remove it"
        ) from error


def check_state(state: Mapping[str, str], **here: str) -> None:
    """Refuse an account, a region or a name other than those of what was made from here."""
    for key, value in here.items() if state else ():
        if state.get(key, value) != value:
            raise UsageError(
                f"{key} {value}: what was made from here is in {key} {state[key]} ({STATE_FILE}). Nothing was done",
                cure=f"use that {key}; or remove the file if nothing is left there: `scripts/aws_setup.sh audit` tells",
            )


def read_code(error: BaseException) -> str:
    """Return the error code of AWS, without the ending that some services give it; empty for other exceptions."""
    answer = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", "")).removesuffix("Exception")


def explain(error: BaseException) -> FruitsError | None:
    """Say in a sentence what an exception of botocore means and what to do; None for any other exception."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    if isinstance(error, ClientError):
        code, said = read_code(error), error.response["Error"].get("Message", "").rstrip(". ")
        cure = _CURES.get(code, "repeat the command when that is mended")
        return FruitsError(f"AWS refused {error.operation_name}: {code}: {said}", cure=cure)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return FruitsError(
            "no AWS credentials were found", cure="run `aws configure` or `aws sso login`, or set AWS_PROFILE"
        )
    if isinstance(error, BotoCoreError):
        return FruitsError(str(error).rstrip(". "), cure=CHECK_NETWORK)
    return None


def describe_account(home: Path) -> str:
    """Return the account and the region that the keys of the AWS chain reach, and what was made from `home`.

    Raises
    ------
    FruitsError
        If there are no keys, if AWS refuses them, or if region or account are not the right ones.
    """
    from botocore.config import Config
    from botocore.session import Session

    state, session = read_state(home), Session()
    usual = state.get("region", EU_REGIONS[0])
    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        # AWS_REGION first, as Spark takes it here; botocore reads AWS_DEFAULT_REGION only.
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region") or usual
        client = session.create_client("sts", region_name=region, config=config)
        account = client.get_caller_identity()["Account"] if region in EU_REGIONS else ""
    except Exception as error:
        raise explain(error) or error from error
    if not account:
        cure = f"export AWS_REGION={usual} (allowed: {', '.join(EU_REGIONS)})"
        raise FruitsError(f"region {region} is not in the EU", cure=cure)
    check_state(state, account=account)
    made = ", ".join(f"{key} {state[key]}" for key in ("name", "bucket", "region") if key in state)
    return f"account {account}, region {region}; made from here: {made or 'nothing'}"
