"""What every command works with: settings, clients of one AWS account, what is remembered, how to tell and to ask."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emr.settings import Settings
from fruits import aws, folders
from fruits.aws import STATE_FILE
from fruits.errors import FruitsError, UsageError

SETUP = "scripts/aws_setup.sh"
# Where everything lies in the bucket.
RAW, FEATURES, MODELS = "data/raw/", "data/features/", "data/models/"
CODE, REPORTS, LOGS, JUPYTER = "code/", "reports/", "logs/", "jupyter/"
SPARK_LOGS = f"{LOGS}spark/"
# The user of JupyterHub that EMR makes. What the Hub saves in S3 lies in a folder of this name.
HUB_USER = "jovyan"


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a command is given: `say` tells a line, `ask` raises UsageError without a yes, `home` is the repository."""

    settings: Settings
    home: Path
    say: Callable[[str], None]
    ask: Callable[[str], None]
    dry_run: bool = False
    _clients: dict[tuple[str, str, bool], Any] = field(default_factory=dict)

    def client(self, service: str, *, region: str | None = None, once: bool = False) -> Any:
        """Return boto3's client of a service; with `once` it sends nothing twice, and so starts nothing twice.

        A UsageError tells of credentials, a region or a name that are not those of what was made from here.
        """
        import boto3
        from botocore.config import Config

        if self.dry_run:
            raise FruitsError("a dry run asks AWS nothing: this command has no plan to print.")
        if not self._clients:
            self._clients["sts", self.settings.region, False] = boto3.client("sts", region_name=self.settings.region)
            try:
                self._check_account()
            except Exception:
                self._clients.clear()  # else the next request would go unchecked
                raise
        key = (service, region or self.settings.region, once)
        if key not in self._clients:
            retries = {"mode": "standard", "total_max_attempts": 1 if once else 8}
            config = Config(retries=retries, max_pool_connections=32)
            self._clients[key] = boto3.client(service, region_name=key[1], config=config)
        return self._clients[key]

    def _check_account(self) -> None:
        if memory := self.memory:
            aws.check_state(memory, name=self.settings.name, region=self.settings.region)
            aws.check_state(memory, account=self.account)

    @property
    def account(self) -> str:
        """Number of the AWS account whose credentials are used."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @property
    def memory(self) -> dict[str, str]:
        """What is remembered between commands: account, region, name and bucket; empty before they are."""
        return aws.read_state(self.home)

    def remember(self, bucket: str) -> None:
        """Write down what was made, and where."""
        settings = self.settings
        kept = {"account": self.account, "region": settings.region, "name": settings.name, "bucket": bucket}
        folders.write_bytes(self.home / STATE_FILE, (json.dumps(kept, indent=2) + "\n").encode())

    def forget(self) -> None:
        """Remove the memory: all that was made is gone."""
        (self.home / STATE_FILE).unlink(missing_ok=True)

    @property
    def bucket(self) -> str:
        """The bucket's name; without one, a UsageError names the command that comes first."""
        if self.dry_run:
            return self.memory.get("bucket", "BUCKET")
        if "bucket" not in self.memory:
            raise UsageError(f"there is no bucket yet; first run: {SETUP} create-bucket NAME")
        return self.memory["bucket"]

    @property
    def params_file(self) -> Path:
        """The target file of this bucket."""
        return self.home / "params" / "emr.yaml"

    @property
    def key_file(self) -> Path:
        """The private key of the cluster."""
        return self.home / f"{self.settings.name}-key.pem"


def explain(error: Exception) -> FruitsError | None:
    """Say in a sentence what an exception of boto3 means and what to do; None for any other exception."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import ClientError

    if isinstance(error, Boto3Error):
        # `upload_file` hides why S3 refused.
        cause = error.__context__ if isinstance(error.__context__, ClientError) else None
        return aws.explain(cause) if cause else FruitsError(str(error).rstrip(". "), cure=aws.CHECK_NETWORK)
    return aws.explain(error)
