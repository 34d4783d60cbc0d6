"""Finished runs, made by hand: a manifest, results and stored features, as small as they can be."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.images.rows import SCORED, STORED, arrow_schema
from fruits.ownership import write_marker
from fruits.params import list_modes, load_params
from fruits.results import METADATA, SCORES, VARIANCE

Matrix = npt.NDArray[np.floating[Any]]
RATES = {"official": (0.9, 0.85, 0.95), "0->r": (0.6, 0.5, 0.7)}


def make_features(count: int = 30, width: int = 8) -> Matrix:
    """Return features of a few images, around which nothing else lies within 0.01."""
    return np.random.default_rng(3).normal(size=(count, width)).astype(np.float32)


def make_run(
    root: Path,
    name: str,
    features: Matrix,
    *,
    model: str = "model-a",
    first: int = 0,
    digest: str = "",
    rates: dict[str, tuple[float, float, float]] | None = None,
    **more: Any,
) -> Path:
    """Write what a run leaves, and return its manifest. Its scores are its features.

    Parameters
    ----------
    features
        Of images `first`, `first` + 1 and so on; `digest` stands before the number in the hash of each.
    rates
        For each test the accuracy and its interval at k = 2.
    more
        Parts of the manifest.
    """
    places = {"output_dir": str(root / "data"), "report_dir": str(root / "reports"), "input_dir": "/images"}
    mode = name if name in list_modes() else "MINI"
    params = load_params(mode, "local", places if mode == name else {**places, "name": name})
    numbers = range(first, first + len(features))
    images = pd.DataFrame({"path": [f"Training/Kiwi/{number:03}.jpg" for number in numbers], "label": "Kiwi"})
    images = images.assign(split="Training", length=[1000 + number for number in numbers], modified=5)
    stored = images.assign(digest=[f"{digest}{number}" for number in numbers], etag="", features=list(features))
    share = features.var(axis=0, dtype=np.float64)
    share = np.sort(share / share.sum())[::-1]
    write_table(params.path("output_dir") / f"features/{model}/batch-{name}/part-0.parquet", stored, STORED)
    (params.path("output_dir") / f"features/{model}/batch-{name}/_SUCCESS").touch()
    write_table(params.results_dir / SCORES / "part-0.parquet", images.assign(pca=list(features)), SCORED)
    variance = pd.DataFrame({"component": np.arange(len(share)) + 1, "share": share, "cumulative": share.cumsum()})
    for file, table in ((METADATA, images), (VARIANCE, variance)):
        (params.results_dir / file).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(params.results_dir / file, index=False)
    write_marker(params.results_dir, owner={"target": "local", "input_dir": "/images", "model_id": model})
    counts = {"listed": len(features), "features": len(features), "errors": 0, "reused": 0, "computed": len(features)}
    manifest = {
        **{"mode": mode, "target": "local", "started": "2026-11-26T08:00:00+00:00", "git_commit": "abc1234def"},
        "params": dataclasses.asdict(params),
        "model": {"model_id": model, "backbone": "mobilenet_v2", "engine": "litert", "features": features.shape[1]},
        "counts": counts,
        "images_per_second": 100.4,
        "pca": {"kept": len(share), "cumulative": float(share.sum()), "variance_target": 0.95},
        "quality": make_quality(RATES if rates is None else rates),
        "seconds": {"listing": 1.0, "extraction": 8.0, "pca": 2.5, "quality": 0.0},
    }
    file = params.report_folder / "manifest.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(manifest | more))
    return file


def make_quality(rates: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """Return the part of a manifest about quality."""
    parts = {
        name: {"test": 40, "accuracy": {"2": {"nn1": rate}}, "interval": {"2": {"nn1": interval}}}
        for name, (rate, *interval) in rates.items()
    }
    return {"official": parts.pop("official", None), "by_group": parts}


def write_table(file: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, arrow_schema(columns), preserve_index=False), file)
