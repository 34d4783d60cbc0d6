"""The tables of a run: written together, checked by reading them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fruits import arrow
from fruits.errors import FruitsError, explain_failures
from fruits.folders import as_folder, open_output, open_parquet, write_bytes, write_parquet
from fruits.images.rows import NAMES, ErrorRow, IgnoredRow
from fruits.ownership import RESULTS, check_again, write_marker
from fruits.pca import PCA, format_target
from fruits.pca_model import read_pca, save_pca
from fruits.tables import FORMATS, CsvFormat

SCORES = Path("pca/parquet")
SCORES_CSV = Path("pca/csv/pca.csv")
METADATA = Path("metadata/metadata.csv")
VARIANCE = Path("model_info/variance.csv")
ERRORS = Path("errors/errors.csv")
IGNORED = Path("errors/ignored.csv")
# Runs of the same images on other machines and engines differ by less in each share of the variance.
SHARE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Saved:
    """What was saved: scores (path, label, split, pca) by path, and the checks they passed (check, found)."""

    scores: pa.Table
    checks: pd.DataFrame


def reconcile(*, listed: int, features: int, computed: int, errors: int) -> dict[str, int]:
    """Return the counts; refuse them unless `listed` = `features` + `errors`. `features` = `reused` + `computed`."""
    if listed != features + errors:
        raise FruitsError(
            f"{listed} images were listed, but {features} have features and {errors} an error: "
            f"{listed - features - errors:+d} are unaccounted for. Run again; if it stays so, it is a bug."
        )
    reused = features - computed
    return {"listed": listed, "features": features, "errors": errors, "reused": reused, "computed": computed}


def check_error_share(
    counts: dict[str, int], errors: Sequence[ErrorRow], *, most: float, file: Path, csv: str = "international"
) -> None:
    """Write the error rows to `file`, if there are any, and refuse to go on if their share is above `most`."""
    file.unlink(missing_ok=True)  # that of an earlier run
    if errors:
        FORMATS[csv].write_rows(file, ErrorRow._fields, errors)
    if (share := len(errors) / max(counts["listed"], 1)) > most:
        raise FruitsError(
            f"{len(errors):,} of {counts['listed']:,} images ({100 * share:.3g}%) could not be read; max_error_share "
            f"allows {format_target(most)}. See {file.name} beside the report; mend or remove them, or raise it."
        )


def save_results(
    folder: Path,
    *,
    scores: pa.Table,
    images: pd.DataFrame,
    pca: PCA,
    errors: Sequence[ErrorRow],
    owner: dict[str, Any],
    ignored: pd.DataFrame | None = None,
    more: Mapping[str, pd.DataFrame] | None = None,
    replace: bool = False,
    csv: str = "international",
) -> Saved:
    """Write all tables of a mode and read them back; they replace those in the folder together, or not at all.

    `scores` is what `PCA.collect_scores` returns, `more` what `Quality.tables` does, `owner` what
    `ownership.describe_owner` does. FruitsError if the disk is full, the folder holds foreign files, or what is read
    back differs.
    """
    kept = images[~images["path"].isin({path for path, *_ in errors})].drop(columns="digest", errors="ignore")
    with explain_failures("saving the results"), as_folder(folder).replaced() as draft:
        with open_output(draft / SCORES / "part-00000.parquet") as stream:
            write_parquet(scores, stream)
        write_bytes(draft / SCORES / "_SUCCESS", b"")  # as Spark marks a whole table
        _write_tables(draft, scores=scores, images=kept, pca=pca, more=more or {}, csv=FORMATS[csv])
        save_pca(pca, draft)
        FORMATS[csv].write_rows(draft / ERRORS, ErrorRow._fields, errors)
        left_out = [] if ignored is None else ignored.itertuples(index=False)
        FORMATS[csv].write_rows(draft / IGNORED, IgnoredRow._fields, left_out)
        written = read_scores(draft)
        checks = check_results(draft, scores=written, pca=pca, paths=sorted(kept["path"]), csv=csv)
        write_marker(draft, owner=owner)
        check_again(folder, RESULTS, owner=owner, replace=replace)
    return Saved(written, checks)


def _write_tables(
    draft: Path, *, scores: pa.Table, images: pd.DataFrame, pca: PCA, more: Mapping[str, pd.DataFrame], csv: CsvFormat
) -> None:
    csv.write_scores(draft / SCORES_CSV, scores, width=pca.n_components)
    ratios = {"share": pca.explained_variance_ratio, "cumulative": pca.cumulative_variance_ratio}
    variance = pd.DataFrame({"component": np.arange(1, pca.n_components + 1), **ratios})
    for name, table in {str(METADATA): images, str(VARIANCE): variance, **more}.items():
        csv.write_table(draft / name, table)


def read_scores(folder: Path) -> pa.Table:
    """Read the Parquet scores of a mode, sorted by path: path, label, split, pca."""
    files = sorted(str(file) for file in (folder / SCORES).glob("*.parquet"))
    return pa.concat_tables([open_parquet(file).read() for file in files]).sort_by("path")


def check_results(
    folder: Path, *, scores: pa.Table, pca: PCA, paths: Sequence[str], csv: str = "international"
) -> pd.DataFrame:
    """Read the CSV and the model back, and return what was compared (check) and found (found).

    `paths` are those of the images that have features, sorted. FruitsError if rows are missing or of other images,
    if CSV and Parquet differ by more than 1e-6, or if the model does not equal the PCA.
    """
    text, loaded = FORMATS[csv].read_scores(folder / SCORES_CSV), read_pca(folder)
    _check_rows(folder, scores, csv_rows=len(text), paths=paths)
    pairs = zip(text.columns[len(NAMES) :], to_matrix(scores).T, strict=True)
    # By numpy, which keeps a NaN of a blank cell.
    gap = float(np.max([np.abs(column.to_numpy() - written).max() for column, written in pairs]))
    if not gap <= 1e-6 or text["path"].to_pylist() != [*map(FORMATS[csv].spell, paths)]:
        raise FruitsError(f"{folder}: CSV and Parquet scores differ by {gap:.1e}; at most 1e-6 is allowed.")
    for name in ("components", "mean", "explained_variance_ratio"):
        if not np.array_equal(getattr(loaded, name), getattr(pca, name)):
            raise FruitsError(f"{folder}: the PCA that was read back has other {name} than the one that was saved.")
    rows = [
        ("Parquet rows read back", f"{len(scores):,}"),
        ("CSV rows read back", f"{len(text):,}, sorted by path"),
        ("largest difference CSV - Parquet", f"{gap:.1e}"),
        ("PCAModel read back", " x ".join(map(str, loaded.components.T.shape))),
    ]
    return pd.DataFrame(rows, columns=["check", "found"])


def _check_rows(folder: Path, scores: pa.Table, *, csv_rows: int, paths: Sequence[str]) -> None:
    if not len(scores) == csv_rows == len(paths):
        raise FruitsError(f"{folder}: {len(scores)} Parquet rows and {csv_rows} CSV rows; {len(paths)} were written.")
    if scores["path"].to_pylist() != paths:
        raise FruitsError(
            f"{folder}: the scores are of other images than those selected now, as when a cell was left out after the "
            "parameters changed; run the notebook again from its first cell."
        )


def to_matrix(scores: pa.Table) -> npt.NDArray[np.float32]:
    """Return the scores as a matrix of shape (n, k), float32."""
    return arrow.to_matrix(scores["pca"].combine_chunks()).astype(np.float32, copy=False)
