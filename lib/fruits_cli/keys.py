"""What the help says of modes and of the keys of `--set`: read where it is written, in params/ and `RunParams`."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from fruits.params import KEYS, keys_of, list_modes, load_params, repository
from fruits.yaml_text import read_comments, read_yaml

# All but those that name the two files.
SETTABLE = [key for key in KEYS if key not in {"mode", "target"}]


def describe_modes() -> dict[str, str]:
    """Return the modes, each with the comment that begins its file; none if params/ cannot be read."""
    with suppress(Exception):
        files = {mode: repository() / "params" / f"{mode}.yaml" for mode in list_modes()}
        texts = {mode: file.read_text(encoding="utf-8", errors="replace") for mode, file in files.items()}
        return {mode: text.partition("\n")[0].lstrip("# ") * text.startswith("#") for mode, text in texts.items()}
    return {}


def list_keys(mode: str, target: str, settings: Mapping[str, str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each of the two files of a run with its keys: `key=value`, and what it means, and what is allowed."""
    values = dataclasses.asdict(load_params(mode, target, settings))
    for group, name in (("what", mode), ("where", target)):
        file = repository() / "params" / f"{name}.yaml"
        there, comments = read_yaml(file), read_comments(file)
        rows = []
        for key in keys_of(group):
            if key not in SETTABLE:
                continue
            origin = "by --set" if key in settings else "" if key in there else "not in the file: the default"
            said = (comments.get(key, ""), f"allowed: {KEYS[key].metadata['allowed']}", origin)
            rows.append((f"{key}={_spell(values[key])}", "; ".join(filter(None, said))))
        yield f"params/{file.name}", rows


def _spell(value: Any) -> str:
    """Spell a value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
