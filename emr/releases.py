"""What is known of EMR releases: which are supported, which have JupyterHub."""

import re
from datetime import date

from fruits.errors import UsageError

# docs.aws.amazon.com, page of each release: the end of standard support (bug fixes; security fixes go on a year).
SUPPORT_ENDS = {"emr-7.5.0": date(2026, 11, 20)}
# The newest release with JupyterHub that was seen in AWS's pages, in November 2026: Spark 3.5.8.
NEWEST = "emr-7.14.0"


def check_release(release: str, *, today: date) -> str | None:
    """Refuse a release that cannot serve, warn of one that is old.

    Returns
    -------
    str or None
        A warning.

    Raises
    ------
    UsageError
        For Spark 4 releases, which have no JupyterHub, and for those whose nodes have no Python 3.11.
    """
    if release.startswith("emr-spark-") or (_version(release) or (7,)) >= (8,):
        raise UsageError(
            f"release {release} is a Spark 4 one: it has no JupyterHub (and no EMRFS), which the notebook workflow "
            f"needs. Take a 7.x release; the newest known is {NEWEST}."
        )
    version = _version(release)
    if version is None or version < (7, 1):
        raise UsageError(
            f"release {release}: its nodes have no Python 3.11; allowed: emr-7.1.0 or newer 7.x, such as {NEWEST}."
        )
    ended = SUPPORT_ENDS.get(release)
    if ended and today > ended:
        return (
            f"{release} has been past its standard support since {ended}: no more fixes but for security. "
            f"The newest known release with JupyterHub is {NEWEST} (--set release={NEWEST})."
        )
    return None


def _version(release: str) -> tuple[int, ...] | None:
    match = re.fullmatch(r"emr-(\d+)\.(\d+)\.(\d+)", release)
    return tuple(int(part) for part in match.groups()) if match else None
