"""The tables of a run: written as one, owned by one target and input, checked by reading them back."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds

from fruits import arrow, storage
from fruits.errors import FruitsError, UsageError
from fruits.pca import Components, to_spark_model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCORES = Path("pca/parquet")
SCORES_CSV = Path("pca/csv/pca.csv")
METADATA = Path("metadata/metadata.csv")
VARIANCE = Path("model_info/variance.csv")
SPARK_MODEL = Path("model_info/pca_model")
MEAN = Path("model_info/mean.npy")
ERRORS = Path("errors/errors.csv")
OWNER = Path("run.json")
_CSV_ROWS = 8192

ErrorRow = tuple[str, str, str]


def check_owner(folder: Path, *, target: str, input_dir: Path, replace: bool) -> None:
    """Refuse to overwrite results that another target or input made.

    Raises
    ------
    UsageError
        Naming whose results they are, and how to replace them.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the results of {folder.name} go into a folder of this name.")
    if replace or not folder.exists() or not any(folder.iterdir()):
        return
    try:
        owner = json.loads((folder / OWNER).read_text())
    except (OSError, ValueError):
        owner = {}
    if not isinstance(owner, dict) or not owner.keys() >= {"target", "input_dir"}:
        owner = {}
    if owner.get("target") != target or owner.get("input_dir") != str(input_dir):
        whose = f"target {owner['target']}, input {owner['input_dir']}" if owner else "an unknown run"
        raise UsageError(
            f"{folder} holds results of {whose}; this run is of target {target}, input {input_dir}. "
            "Choose another output_dir, or add --replace to overwrite them."
        )


def reconcile(*, listed: int, features: int, errors: int) -> dict[str, int]:
    """Return the three counts, if every listed image became either features or an error row.

    Raises
    ------
    FruitsError
        Naming the three counts.
    """
    if listed != features + errors:
        raise FruitsError(
            f"{listed} images were listed, but {features} have features and {errors} an error: "
            f"{listed - features - errors:+d} are unaccounted for. Run again; if it stays so, it is a bug."
        )
    return {"listed": listed, "features": features, "errors": errors}


def save_results(
    folder: Path,
    *,
    scores: "DataFrame",
    images: pd.DataFrame,
    components: Components,
    errors: Sequence[ErrorRow],
    owner: dict[str, Any],
) -> None:
    """Write all tables of a mode; they replace the earlier ones together, or not at all.

    Parameters
    ----------
    folder
        `<output_dir>/<MODE>`.
    scores
        path, label, split (string), pca (array<float> of k); computed by this write alone.
    images
        The selected images, as `list_images` returns them.
    errors
        Rows (path, stage, reason) of the images without features.
    owner
        Whose results these are: `target` and `input_dir`, at least.
    """
    with storage.replaced_folder(folder) as draft:
        for file in (SCORES_CSV, METADATA, VARIANCE, ERRORS):
            (draft / file).parent.mkdir(parents=True, exist_ok=True)
        scores.write.parquet(str(draft / SCORES))
        _write_scores_csv(draft / SCORES_CSV, read_scores(draft), width=components.kept)
        lost = {path for path, _, _ in errors}
        images[~images["path"].isin(lost)].to_csv(draft / METADATA, index=False)
        variance_table(components).to_csv(draft / VARIANCE, index=False)
        to_spark_model(scores.sparkSession, components).save(str(draft / SPARK_MODEL))
        np.save(draft / MEAN, components.mean)
        write_errors(draft / ERRORS, errors)
        (draft / OWNER).write_text(json.dumps(owner, indent=2) + "\n")


def variance_table(components: Components) -> pd.DataFrame:
    """Return component (1..k), share and cumulative share of the total variance."""
    numbers = np.arange(1, components.kept + 1)
    return pd.DataFrame({"component": numbers, "share": components.shares, "cumulative": components.cumulative})


def write_errors(file: Path, errors: Sequence[ErrorRow]) -> None:
    """Write path, stage and reason of every image without features, sorted by path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "stage", "reason"), *sorted(errors)])


def read_scores(folder: Path) -> pa.Table:
    """Read the Parquet scores of a mode, sorted by path: path, label, split, pca."""
    files = sorted(str(file) for file in (folder / SCORES).glob("*.parquet"))
    return ds.dataset(files).to_table().sort_by("path")


def check_results(spark: "SparkSession", folder: Path, *, features: int) -> pd.DataFrame:
    """Read everything back and compare it.

    Returns
    -------
    DataFrame
        check (str), found (str): what was compared and what came out.

    Raises
    ------
    FruitsError
        If rows are missing, or CSV and Parquet differ by more than 1e-6.
    """
    from pyspark.ml.feature import PCAModel

    table = read_scores(folder)
    text = pd.read_csv(folder / SCORES_CSV, keep_default_na=False, dtype={"label": str})
    if not len(table) == len(text) == features:
        raise FruitsError(f"{folder}: {len(table)} Parquet rows and {len(text)} CSV rows; {features} were written.")
    gap = float(np.abs(to_matrix(table) - text.filter(regex=r"^pc_\d+$").to_numpy()).max())
    if gap > 1e-6 or text["path"].tolist() != table["path"].to_pylist():
        raise FruitsError(f"{folder}: CSV and Parquet scores differ by {gap:.1e}; at most 1e-6 is allowed.")
    model = PCAModel.load(storage.escape_glob(folder / SPARK_MODEL))
    rows = [
        ("Parquet rows read back", f"{len(table):,}"),
        ("CSV rows read back", f"{len(text):,}, sorted by path"),
        ("largest difference CSV - Parquet", f"{gap:.1e}"),
        ("PCAModel loaded by Spark", f"{model.pc.numRows} x {model.pc.numCols}"),
    ]
    return pd.DataFrame(rows, columns=["check", "found"])


def to_matrix(scores: pa.Table) -> npt.NDArray[np.float32]:
    """Return the scores as a matrix of shape (n, k), float32."""
    return arrow.to_matrix(scores["pca"].combine_chunks()).astype(np.float32, copy=False)


def _write_scores_csv(file: Path, scores: pa.Table, *, width: int) -> None:
    # Three digits until a thousand components ask for more, so that the columns sort.
    digits = max(3, len(str(width)))
    names = ["path", "label", "split", *(f"pc_{number:0{digits}d}" for number in range(1, width + 1))]
    with file.open("wb") as stream:
        stream.write((",".join(names) + "\n").encode())
        options = pa.csv.WriteOptions(include_header=False)
        for start in range(0, len(scores), _CSV_ROWS):
            part = scores.slice(start, _CSV_ROWS)
            # Doubles spell a float32 exactly; its own shortest text is off by 1e-6 and more beyond 16.
            matrix = to_matrix(part).astype(np.float64)
            columns = [part[name] for name in names[:3]] + [pa.array(column) for column in matrix.T.copy()]
            pa.csv.write_csv(pa.table(columns, names=names), stream, options)
