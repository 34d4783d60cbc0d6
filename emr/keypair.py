"""The SSH key: made by AWS, kept in a file that only its owner can read, never overwritten."""

import os

from emr.context import Context
from emr.request import Request, tag_list
from emr.settings import Settings
from fruits.errors import FruitsError, UsageError


def key_name(settings: Settings) -> str:
    """Return the name of the key pair in EC2."""
    return f"{settings.name}-key"


def find_request(settings: Settings) -> Request:
    """Build the request that looks for the key pair."""
    return Request("ec2", "describe_key_pairs", {"KeyNames": [key_name(settings)]}, fine=("InvalidKeyPair.NotFound",))


def create_request(settings: Settings) -> Request:
    """Build the request that makes it."""
    tags = [{"ResourceType": "key-pair", "Tags": tag_list(settings.tags)}]
    arguments = {"KeyName": key_name(settings), "KeyType": "ed25519", "KeyFormat": "pem", "TagSpecifications": tags}
    return Request("ec2", "create_key_pair", arguments)


def create_keypair(context: Context) -> None:
    """Make the key pair and its file, mode 400; leave both alone if both are there.

    Raises
    ------
    UsageError
        If only one of the two is there: AWS gives a private key out once.
    """
    file, name = context.key_file, key_name(context.settings)
    there = bool((context.account.read(find_request(context.settings)) or {}).get("KeyPairs"))
    if there and file.is_file():
        check_mode(context)
        context.say(f"Key pair {name} is there, and its file {file}.")
        return
    if there:
        raise UsageError(
            f"key pair {name} is in EC2, but its file {file} is not here, and AWS gives it out only once. Bring the "
            f"file, or delete the pair (aws ec2 delete-key-pair --key-name {name} --region {context.settings.region}) "
            "and repeat; or connect by --ssm, which needs none."
        )
    if file.exists() and not context.account.dry_run:
        raise UsageError(f"{file} is there, but no key pair {name} in EC2. Move the file away and repeat.")
    answer = context.account.send(create_request(context.settings), planned={"KeyMaterial": ""})
    if context.account.dry_run:
        return
    # Made with its final mode, and only if nothing bears the name: there is no moment in which others can read it.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(answer["KeyMaterial"])
    context.say(f"Key pair {name}; its file is {file} (mode 400). Keep it: AWS does not give it out again.")


def check_mode(context: Context) -> None:
    """Refuse a key file that others can read: ssh would, too.

    Raises
    ------
    FruitsError
        With the command that mends it.
    """
    mode = context.key_file.stat().st_mode & 0o777
    if mode & 0o077:
        raise FruitsError(f"{context.key_file} has mode {mode:o}, others can read it: chmod 400 {context.key_file}")
