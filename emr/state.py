"""What was made and where, remembered between commands in a file that git ignores."""

import json
from pathlib import Path
from typing import Any

from fruits import folders
from fruits.errors import UsageError

STATE_FILE = ".fruits-aws.json"


class State:
    """The bucket, the cluster and what it was estimated at; written whole or not at all."""

    def __init__(self, file: Path, *, frozen: bool = False) -> None:
        self.file = file
        self.frozen = frozen
        self.values: dict[str, Any] = self._read()

    def get(self, key: str) -> Any:
        """Return a remembered value, None if there is none."""
        return self.values.get(key)

    def need(self, key: str, *, command: str) -> Any:
        """Return a remembered value.

        Raises
        ------
        UsageError
            Naming the command that comes first.
        """
        if not self.values.get(key):
            raise UsageError(f"there is no {key.replace('_', ' ')} yet; first run: scripts/aws_setup.sh {command}")
        return self.values[key]

    def update(self, **values: Any) -> None:
        """Remember values beside what the file holds by now; None forgets one. A dry run remembers nothing.

        Raises
        ------
        UsageError
            If the file cannot be read any more.
        """
        if self.frozen:
            return
        # Another command may have written since: what it remembered stays.
        self.values = {key: value for key, value in (self._read() | values).items() if value is not None}
        content = json.dumps(self.values, indent=2, sort_keys=True, default=str) + "\n"
        folders.write_bytes(self.file, content.encode())

    def update_if(self, key: str, held: object, **values: Any) -> bool:
        """Remember values if the file still holds a certain value under a key; return whether it does."""
        same = bool(self._read().get(key) == held)
        if same:
            self.update(**values)
        return same

    def forget(self) -> None:
        """Remove the file."""
        if not self.frozen:
            self.values = {}
            self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        if not self.file.is_file():
            return {}
        try:
            return dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{self.file} is not what was written there ({error}); move it away and repeat."
            ) from error
