"""A request to AWS as data: built by pure functions, shown by --dry-run, sent by `account`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One call of boto3.

    Parameters
    ----------
    service, operation
        As boto3 names them: `s3`, `create_bucket`.
    fine
        Error codes that mean there is nothing left to do: it is there already, or gone already.
    """

    service: str
    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fine: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what --dry-run prints."""
        return {"service": self.service, "operation": self.operation, "request": dict(self.arguments)}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Spell tags the way EC2, EMR, IAM and S3 want them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def read_tags(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Read tags back."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}
