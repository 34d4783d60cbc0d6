"""The executed notebook, as it is handed in: its texts in a language, its code and outputs as they are."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fruits.errors import UsageError
from fruits.params import repository
from fruits.redaction import redact_secrets
from fruits.yaml_text import read_yaml

# The cell of the notebook that shows the contact sheets.
SHEETS = "cell-12"
_PICTURES = ("image/png", "image/jpeg")


def make_notebook(file: Path, *, language: str) -> bytes:
    """Return an executed notebook with its texts in a language, `en` or `fr`."""
    notebook = translate_notebook(read_notebook(file), read_translation(language))
    return redact_secrets(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def read_notebook(file: Path) -> dict[str, Any]:
    """Read an executed notebook; UsageError if there is none."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{file} is not an executed notebook ({error}); make it again: fruits run.") from error


def read_translation(language: str) -> dict[str, str]:
    """Return the texts of the notebook in a language, by cell id; none for English, in which it is written."""
    return {} if language == "en" else read_yaml(repository() / "notebooks" / f"pipeline.{language}.yaml")


def translate_notebook(notebook: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Put other texts in the place of those of the Markdown cells with these ids; code and outputs are not touched."""
    cells = [
        {**cell, "source": texts[cell["id"]].splitlines(keepends=True)}
        if cell["cell_type"] == "markdown" and cell.get("id") in texts
        else cell
        for cell in notebook["cells"]
    ]
    return {**notebook, "cells": cells}


def find_pictures(notebook: Mapping[str, Any], cell: str) -> list[bytes]:
    """Return the pictures that a cell shows, PNG or JPEG, in their order."""
    outputs = (output for one in notebook["cells"] if one.get("id") == cell for output in one.get("outputs", []))
    shown = (output.get("data", {}) for output in outputs)
    encoded = (next((data[kind] for kind in _PICTURES if kind in data), None) for data in shown)
    return [base64.b64decode("".join(text)) for text in encoded if text]
