"""Deliverable 2: where things are, the images, the first rows of the tables, checks, errors and ignored files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fruits import pca_model, results
from fruits.errors import FruitsError
from fruits.folders import open_parquet
from fruits.ownership import RESULTS, check_whole, read_marker
from fruits_cli.deliver.blocks import Block, Words, make_section, make_table, make_text, show_frame
from fruits_cli.deliver.execution import describe_machine, describe_software, describe_spark
from fruits_cli.deliver.facts import Run, gather_facts
from fruits_cli.deliver.language import Language, read_texts
from fruits_cli.deliver.notebook import SHEETS, find_pictures, read_notebook
from fruits_cli.deliver.screenshots import Screenshot
from fruits_cli.deliver.typesetting import typeset

# Three columns of them fill a page.
_CLASSES = 132
_ROWS, _BAD_ROWS = 5, 20
# Tables of the results, and how many of their columns fit on a page.
_TABLES = {
    results.METADATA: 4,
    results.SCORES_CSV: 8,
    results.VARIANCE: 3,
    Path("model_info/quality.csv"): 8,
    Path("model_info/confusions.csv"): 4,
    Path("model_info/suspects.csv"): 5,
    Path("model_info/duplicates.csv"): 6,
}


def make_images(
    run: Run, *, author: str, language: Language, screenshots: list[Screenshot] | None = None, **options: Any
) -> bytes:
    """Return the document of the images and of the execution; `options` as `typeset`."""
    images = run.images
    classes = images["label"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    known = {"classes": len(classes), "bytes": int(images["length"].sum()), "columns": len(images.columns)}
    facts = {**gather_facts(run), "author": author, "images": known, "id": _identify(run)}
    words = Words(language, read_texts("images", language), facts)
    sheets = _name_pictures("sheet", find_pictures(read_notebook(run.report / "run.ipynb"), SHEETS))
    shots = _name_pictures("screenshot", [shot.content for shot in screenshots or []])
    sections = [
        _describe_places(run, words),
        _describe_images(classes, words, sheets=list(sheets)),
        describe_machine(run, words),
        describe_spark(run, words),
        make_section(words("tables"), make_text(words("tables_said"), kind="above"), *_show_tables(run, words)),
        _describe_checks(run, words),
        _describe_errors(run, words),
        *_show_screenshots(dict(zip(shots, screenshots or [], strict=True)), words),
        describe_software(run, words),
    ]
    footer = " · ".join(filter(None, (words(f"footer_{part}") for part in ("mode", "run", "commit", "date"))))
    texts = {"title": words("title"), "subtitle": words("subtitle"), "footer": footer, "notice": _warn(run, words)}
    data = {"texts": texts, "author": author, "sections": sections, "tiles": _list_tiles(words)}
    return typeset("images", data, language=language, files={**sheets, **shots}, **options)


def _identify(run: Run) -> dict[str, str | None]:
    """Return the beginnings of what identifies a run and its code; None where it is not known."""
    known = {"run": read_marker(run.results, RESULTS).get("run_id"), "commit": run.manifest["git_commit"]}
    return {name: found[:10] if found else None for name, found in known.items()}


def _warn(run: Run, words: Words) -> str:
    """Say that nothing can be learned of fruit from drawn images or untrained weights; empty for other runs."""
    params = run.manifest["params"]
    warned = {"drawn": params["target"] == "sample", "untrained": params["weights"] == "random"}
    return " ".join(words(name) for name, so in warned.items() if so)


def _name_pictures(name: str, pictures: list[bytes]) -> dict[str, bytes]:
    kinds = ("png" if picture.startswith(b"\x89PNG") else "jpg" for picture in pictures)
    return {f"{name}-{number}.{kind}": pictures[number] for number, kind in enumerate(kinds)}


def _list_tiles(words: Words) -> list[list[str]]:
    values = {
        "tile_images": "{counts.features:count}",
        "tile_classes": "{images.classes:count}",
        "tile_features": "{model.features:count}",
        "tile_components": "{pca.kept:count}",
        "tile_variance": "{pca.cumulative:variance}",
        "tile_errors": "{counts.errors:count}",
    }
    return [[words.fill(value) or "", words(name)] for name, value in values.items()]


def _describe_places(run: Run, words: Words) -> Block:
    """Say where images, features, results and report are, as the run was told, and what they hold."""
    params = run.manifest["params"]
    name, output = params.get("name") or params["mode"], params["output_dir"].rstrip("/")
    places = {
        "images": params["input_dir"],
        "features": f"{output}/features/{run.manifest['model']['model_id']}",
        "scores": f"{output}/{name}/{results.SCORES}",
        "csv": f"{output}/{name}/{results.SCORES_CSV}",
        "metadata": f"{output}/{name}/{results.METADATA}",
        "info": f"{output}/{name}/{pca_model.MEAN.parent}",
        "errors": f"{output}/{name}/{results.ERRORS.parent}",
        "weights": params["weights"],
        "report": f"{params['report_dir'].rstrip('/')}/{params['target']}/{name}",
    }
    rows = [[words(f"where_{what}"), place, words(f"holds_{what}")] for what, place in places.items()]
    far = run.cluster is not None or params["target"] == "emr"
    header = [words(f"where_{part}") for part in ("what", "place", "holds")]
    return make_section(
        words("where"),
        make_table(header, rows, widths=(1.0, 2.2, 1.8)),
        make_text(words("where_links")) if far else None,
    )


def _describe_images(classes: pd.Series, words: Words, *, sheets: list[str]) -> Block:
    """Count the images of each class, and show the contact sheets, which are files."""
    shown = classes.head(_CLASSES)
    counts = [[str(label), words.language.format(count, "count")] for label, count in shown.items()]
    return make_section(
        words("images"),
        make_text(words("images_of"), kind="heading"),
        make_text(words("images_more", shown=len(shown))) if len(shown) < len(classes) else None,
        {"kind": "counts", "rows": counts},
        make_text(words("sheets"), kind="heading"),
        make_text(words("sheets_from" if sheets else "no_sheets"), kind="above"),
        {"kind": "sheets", "files": sheets} if sheets else None,
    )


def _show_tables(run: Run, words: Words) -> Iterator[Block]:
    for name, wide in _TABLES.items():
        if not (run.results / name).is_file():
            yield make_text(words("table_missing", file=name.as_posix()))
            continue
        # All rows of the scores are many; they are as many as there are features.
        scores = name == results.SCORES_CSV
        table = run.read_table(name, rows=_ROWS if scores else None)
        rows = run.manifest["counts"]["features"] if scores else len(table)
        if rows:
            yield _show_head(table, words, name=name, rows=rows, most=_ROWS, wide=wide)
        else:
            yield make_text(words("table_empty", file=name.as_posix()))


def _show_head(
    table: pd.DataFrame, words: Words, *, name: Path, rows: int, most: int, wide: int | None = None
) -> Block:
    shown = table.iloc[:most, :wide]
    sizes = {"rows": rows, "shown": len(shown), "columns": len(table.columns), "wide": len(shown.columns)}
    return show_frame(shown, words=words, file=name.as_posix(), note=words("table_shown", **sizes))


def _describe_checks(run: Run, words: Words) -> Block:
    """Check counts, tables and files of the results anew."""
    rows = [
        [words(f"check_{name}"), found, words("check_good" if good else "check_bad")]
        for name, good, found in _list_checks(run, words)
    ]
    header = [words("check"), words("check_found"), ""]
    said = make_text(words("checks_said"), kind="above")
    return make_section(words("checks"), said, make_table(header, rows, widths=(3, 2, 1)))


def _list_checks(run: Run, words: Words) -> Iterator[tuple[str, bool, str]]:
    """Yield the name of each check, whether it is good, and what was found."""
    counts, files = run.manifest["counts"], (run.results / results.SCORES).glob("*.parquet")
    columns = run.read_table(results.SCORES_CSV, rows=1).columns
    sums: Mapping[str, list[int]] = {
        "counts": [counts["listed"], counts["features"], counts["errors"]],
        "computed": [counts["features"], counts["computed"], counts["reused"]],
        "metadata": [len(run.images), counts["features"]],
        "scores": [sum(open_parquet(file).metadata.num_rows for file in files), counts["features"]],
        "width": [sum(column.startswith("pc_") for column in columns), run.manifest["pca"]["kept"]],
    }
    for name, (whole, *parts) in sums.items():
        left, *right = (words.language.format(number, "count") for number in (whole, *parts))
        yield name, whole == sum(parts), f"{left} {'=' if whole == sum(parts) else '≠'} {' + '.join(right)}"
    try:
        check_whole(run.results)
    except FruitsError:
        yield "files", False, words("check_changed")
    else:
        found = len(read_marker(run.results, RESULTS)["files"])
        yield "files", True, words.language.format(found, "count")


def _describe_errors(run: Run, words: Words) -> Block:
    counts, ignored = run.manifest["counts"], run.manifest["ignored"]
    share, kinds = counts["errors"] / max(counts["listed"], 1), run.manifest.get("ignored_kinds") or {}
    rows = [[kind, words.language.format(count, "count")] for kind, count in kinds.items()]
    return make_section(
        words("errors"),
        make_text(words("some_errors", share=share) if counts["errors"] else words("no_errors")),
        _show_rows(run, words, results.ERRORS),
        make_text(words("some_ignored") if ignored else words("no_ignored")),
        make_table([words("ignored_kind"), words("ignored_files")], rows, right=(1,)) if rows else None,
        _show_rows(run, words, results.IGNORED),
    )


def _show_rows(run: Run, words: Words, name: Path) -> Block | None:
    table = run.read_table(name)
    return _show_head(table, words, name=name, rows=len(table), most=_BAD_ROWS) if len(table) else None


def _show_screenshots(shots: Mapping[str, Screenshot], words: Words) -> Iterator[Block]:
    if shots:
        pictures = [
            {"kind": "picture", "file": file, "caption": shot.caption, "size": shot.size}
            for file, shot in shots.items()
        ]
        yield make_section(words("screenshots"), make_text(words("screenshots_said")), *pictures, page=True)
