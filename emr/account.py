"""The AWS account: sends requests, or only notes them (--dry-run), and says in a sentence what AWS refused."""

from typing import Any

from emr.request import Request
from fruits.errors import FruitsError, UsageError

_ADVICE = {
    "BucketAlreadyExists": "somebody else in the world has a bucket of this name; choose another",
    "AccessDenied": "your user or role lacks this permission; documentation/GUIDE_MIGRATION_AWS.md lists those needed",
    "AccessDeniedException": "your user or role lacks this permission",
    "UnauthorizedOperation": "your user or role lacks this permission",
    "ExpiredToken": "log in again (`aws sso login`, or new keys)",
    "InvalidClientTokenId": "these credentials are not valid; check `aws configure list`",
    "SignatureDoesNotMatch": "the secret key is wrong; check `aws configure list`",
    "RequestTimeTooSkewed": "set this machine's clock",
}

# EMR knows no idempotency token: what is sent again may be started again, and paid for again.
_ONCE = {"run_job_flow": "cluster", "add_job_flow_steps": "step"}


class UnclearError(FruitsError):
    """A request was sent, and whether AWS carried it out is not known."""


class AwsError(FruitsError):
    """AWS refused a request; `code` is its error code."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class Account:
    """Clients of one region, made when first needed: a dry run needs neither credentials nor a network."""

    def __init__(self, region: str, *, dry_run: bool = False) -> None:
        self.region = region
        self.dry_run = dry_run
        self.planned: list[Request] = []
        self._clients: dict[tuple[str, str, bool], Any] = {}

    def client(self, service: str, *, region: str | None = None, once: bool = False) -> Any:
        """Return the boto3 client of a service; with `once` it makes one attempt, and no second one.

        Raises
        ------
        UsageError
            If boto3 is not installed.
        """
        key = (service, region or self.region, once)
        if key not in self._clients:
            try:
                import boto3
                from botocore.config import Config
            except ImportError as error:
                raise UsageError("boto3 is not installed; `make env` installs it (the extra `aws`).") from error
            retries = {"mode": "standard", "total_max_attempts": 1} if once else {"mode": "adaptive", "max_attempts": 8}
            config = Config(retries=retries, max_pool_connections=32)
            self._clients[key] = boto3.client(service, region_name=key[1], config=config)
        return self._clients[key]

    def send(self, request: Request, *, planned: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request that changes something; in a dry run note it and answer `planned`.

        Returns
        -------
        dict
            AWS's answer; empty if the error said that nothing is left to do.

        Raises
        ------
        AwsError
            What was asked, what AWS said and what to do.
        UnclearError
            If a cluster or a step may have started although no answer says so.
        """
        if self.dry_run:
            self.planned.append(request)
            return planned or {}
        return self._call(request, region=None) or {}

    def read(
        self, request: Request, *, planned: dict[str, Any] | None = None, region: str | None = None
    ) -> dict[str, Any] | None:
        """Send a request that only looks; in a dry run note it and answer `planned`.

        Returns
        -------
        dict or None
            AWS's answer; None if the error is one of `request.fine`: there is no such thing.
        """
        if self.dry_run:
            self.planned.append(request)
            return planned
        return self._call(request, region=region)

    def read_all(self, request: Request, *, key: str, region: str | None = None) -> list[Any]:
        """Look at all pages of a list; empty in a dry run."""
        if self.dry_run:
            self.planned.append(request)
            return []
        pages: list[Any] = []
        client = self.client(request.service, region=region)
        if not client.can_paginate(request.operation):
            return list((self._call(request, region=region) or {}).get(key, []))
        with _Sentence(request) as sentence:
            for page in client.get_paginator(request.operation).paginate(**request.arguments):
                pages.extend(page.get(key, []))
        return [] if sentence.fine else pages

    def _call(self, request: Request, *, region: str | None) -> dict[str, Any] | None:
        answer: dict[str, Any] = {}
        with _Sentence(request) as sentence:
            client = self.client(request.service, region=region, once=request.operation in _ONCE)
            answer = getattr(client, request.operation)(**request.arguments)
        return None if sentence.fine else answer


class _Sentence:
    """Turns what boto3 raises into one sentence; swallows what the request calls fine."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.fine = False

    def __enter__(self) -> "_Sentence":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or isinstance(error, FruitsError):
            return False
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        what = f"{self.request.service} {self.request.operation}"
        if self.request.operation in _ONCE and _is_unclear(error):
            said = str(error).rstrip(". ")
            raise UnclearError(
                f"{what}: {said}. The {_ONCE[self.request.operation]} may have started all the same, and a cluster "
                "costs money. Look before you repeat: scripts/aws_setup.sh status, scripts/aws_setup.sh audit; "
                "end what should not run: scripts/aws_setup.sh terminate"
            ) from error
        if isinstance(error, ClientError):
            code, said = (error.response["Error"].get(part, "") for part in ("Code", "Message"))
            if code in self.request.fine:
                self.fine = True
                return True
            raise AwsError(f"AWS refused {what}: {code}: {said}. {_advise(code)}", code=code) from error
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            raise FruitsError(
                f"{what}: no AWS credentials were found; run `aws configure` (or `aws sso login`), or set AWS_PROFILE."
            ) from error
        if isinstance(error, BotoCoreError):
            raise FruitsError(f"{what}: {error}. Check the network, the region and `aws configure list`.") from error
        return False


def _is_unclear(error: BaseException) -> bool:
    """Tell whether a request may have been carried out although this came of it."""
    from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, ClientError):
        return bool(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500)
    # Without a connection nothing was sent.
    unsent = isinstance(error, EndpointConnectionError | ConnectTimeoutError)
    return isinstance(error, HTTPClientError | ResponseParserError) and not unsent


def _advise(code: str) -> str:
    advice = _ADVICE.get(code)
    return f"{advice[0].upper()}{advice[1:]}." if advice else "Nothing else was done; repeat the command when mended."
