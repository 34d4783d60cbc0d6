"""Templates, data and pictures to PDF, by the compiler that the package `typst` carries; it reads no network."""

import importlib.util
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

from fruits.errors import FruitsError
from fruits.plots.style import PALETTE
from fruits.plots.text import FONT_PACKAGES
from fruits_cli.deliver.language import TEMPLATES, Language


def typeset(
    name: str, data: Mapping[str, Any], *, language: Language, files: Mapping[str, bytes], **options: Any
) -> bytes:
    """Return the PDF of a template, `presentation` or `images`; a FruitsError says where it does not compile.

    `data` is what `data.json` beside the template holds, besides the language and the palette. `files` are pictures
    by the names under which the template finds them, such as `figures/variance.svg`. `options` are those of
    `typst.compile_with_warnings`, such as `format` and `ppi`.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copytree(TEMPLATES, place, dirs_exist_ok=True)
        told = {"lang": language.code, "palette": PALETTE, **data}
        (place / "data.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        for file, content in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(content)
        try:
            done, said = typst.compile_with_warnings(
                str(place / f"{name}.typ"), root=folder, font_paths=_find_fonts(), ignore_system_fonts=True, **options
            )
        except typst.TypstError as error:
            raise FruitsError(f"{name}.typ does not compile: {error.message} {' '.join(error.trace)}") from error
    for warning in said:
        warnings.warn(f"{name}.typ: {warning.message}", stacklevel=2)
    return done  # type: ignore[no-any-return]


def find_font() -> Path:
    """Return the file of the typeface of all deliverables."""
    return next(file for folder in _find_fonts() for file in Path(folder).glob("NotoSans[[]*"))


def _find_fonts() -> list[str]:
    specs = map(importlib.util.find_spec, FONT_PACKAGES)
    return [str(Path(spec.origin).parent) for spec in specs if spec and spec.origin]
