"""What every command works with: settings, account, state, folders, and a way to say and to ask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emr.account import Account
from emr.settings import Settings
from emr.state import State


@dataclass(frozen=True, kw_only=True)
class Context:
    """The hands of a command.

    Parameters
    ----------
    home
        Folder of `params/`, of the state, the key and the results: the repository.
    say
        Tells the person a line.
    ask
        Asks for a yes; raises if there is none.
    """

    settings: Settings
    account: Account
    state: State
    home: Path
    say: Callable[[str], None]
    ask: Callable[[str], None]

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return str(self.state.need("bucket", command="create-bucket NAME"))

    @property
    def params_file(self) -> Path:
        """The target file of this bucket."""
        return self.home / "params" / "emr.yaml"

    @property
    def key_file(self) -> Path:
        """The private key of the cluster."""
        return self.home / f"{self.settings.name}-key.pem"
