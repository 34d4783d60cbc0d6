"""The errors that a person is meant to read; `cli.py` turns them into exit codes."""


class FruitsError(Exception):
    """A failure the run cannot go on from; the message is one a person can act on."""

    exit_code = 1


class UsageError(FruitsError):
    """What was asked for cannot be done as asked: a parameter, a path or a name is wrong."""

    exit_code = 2
