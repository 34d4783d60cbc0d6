"""A small finished run for the tests of what is handed in: report and results, written by hand, without Spark."""

import base64
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fruits import ownership, results
from fruits.images.rows import ErrorRow, IgnoredRow
from fruits.tables import FORMATS

K = 7
CLUSTER: dict[str, Any] = {
    "id": "j-2AXXXXXXGAPLF",
    "name": "fruits",
    "release": "emr-7.14.0",
    "region": "eu-west-1",
    "zone": "eu-west-1a",
    "bucket": "fruits-test",
    "created": "2025-11-21T08:01:00+00:00",
    "step": {
        "id": "s-1K48XXXXXXHCB",
        "run": "20251121-081500-APPLES-1a2b",
        "started": "2025-11-21T08:15:00+00:00",
        "ended": "2025-11-21T08:24:30+00:00",
        "minutes": 9.5,
    },
    "nodes": [
        {"role": "primary", "type": "m5.xlarge", "market": "ON_DEMAND", "count": 1},
        {"role": "core", "type": "m5.xlarge", "market": "ON_DEMAND", "count": 2},
    ],
    "cost": {"amount": 0.327, "currency": "EUR", "minutes": 23.5, "prices": "2025-03-02"},
    "estimate": {"amount": 0.271, "currency": "EUR", "minutes": 21.9},
    "idle_minutes": 30,
    "encryption": {"bucket": "AES256", "objects": "SSE-S3", "disks": "AwsKms", "between_nodes": False},
}
SPARK: dict[str, Any] = {
    "application": "application_1763712000000_0001",
    "event_log": "application_1763712000000_0001.zstd",
    "jobs": 12,
    "stages": 3,
    "tasks": 2345,
    "failed_tasks": 1,
    "seconds": 123.4,
    "task_seconds": 1042.5,
    "gc_seconds": 3.2,
    "shuffle_read_bytes": 5 * 2**20,
    "shuffle_write_bytes": 6 * 2**20,
    "spilled_bytes": 0,
    "skew": 1.73,
    "executors": 2,
    "cores": 8,
    "broadcast_bytes": 9031936,
}
_STAGES = """stage,name,started,seconds,tasks,failed,task_seconds,gc_seconds,shuffle_read_bytes,shuffle_write_bytes,\
spilled_bytes,longest,median,skew
0,mapInArrow at extraction.py:120,4.2,61.5,2000,1,900.5,2.1,0,5242880,0,4.4,2.2,2.0
1,treeReduce at moments.py:80,70.0,20.25,320,0,120.0,1.0,5242880,1048576,0,2.0,1.6,1.25
2,parquet at results.py:90,95.5,12.0,25,0,22.0,0.1,0,0,0,1.9,1.1,1.73
"""
_EXECUTORS = """executor,host,cores,added,removed
1,ip-10-0-0-11.eu-west-1.compute.internal,4,1.5,
2,ip-10-0-0-12.eu-west-1.compute.internal,4,1.7,110.25
"""
_LABELS = {"Apple Braeburn": 700, "Apple Golden 1": 480, "Kiwi": 101}


class Delivery(NamedTuple):
    """A finished run: its report and its results."""

    report: Path
    results: Path

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.report / "manifest.json").read_text()))


def write_delivery(
    root: Path,
    *,
    target: str = "local",
    labels: dict[str, int] | None = None,
    errors: int = 3,
    ignored: int = 2,
    spark: bool = True,
    quality: bool = True,
    place: str = "",
    **params: Any,
) -> Delivery:
    """Write a finished run of mode APPLES below a folder.

    Parameters
    ----------
    labels
        Images of each class.
    errors, ignored
        Images that could not be read; other files.
    spark, quality
        Whether it kept an event log, and was evaluated.
    place
        Where the run was told that its input, results and reports are; `root` by default.
    """
    images = _list_images(labels or _LABELS)
    place = place or ("s3://fruits-test" if target == "emr" else str(root))
    manifest = _make_manifest(images, target=target, errors=errors, ignored=ignored, place=place)
    manifest["params"] |= params
    manifest |= {"spark": SPARK} if spark else {}
    manifest |= {"quality": _QUALITY} if quality else {}
    delivery = Delivery(root / "reports" / target / "APPLES", root / "data" / "APPLES")
    _write_results(delivery.results, images, manifest, errors=errors, ignored=ignored, quality=quality)
    _write_report(delivery.report, manifest, spark=spark)
    return delivery


def _list_images(labels: dict[str, int]) -> pd.DataFrame:
    rows = [
        (f"Training/{label}/{number}_100.jpg", label, "Training", 4000 + number % 1000, 1795672971658515572)
        for label, count in labels.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows, columns=["path", "label", "split", "length", "modified"])


def _make_manifest(images: pd.DataFrame, *, target: str, errors: int, ignored: int, place: str) -> dict[str, Any]:
    features = len(images)
    return {
        "mode": "APPLES",
        "target": target,
        "started": "2025-11-21T08:15:04+00:00",
        "git_commit": "583c9b3ae55f47ef155e9a9a0e31a8f66e924fe7",
        "git_dirty": False,
        "author": "Ada Lovelace",
        "params": {
            **{"mode": "APPLES", "classes": ["Apple*", "Kiwi"], "max_images": 0, "split": "Training"},
            **{"pca_components": 200, "variance_target": 0.95, "max_error_share": 0.05, "seed": 42, "name": ""},
            **{"evaluate": True, "group": r"^(?:(r\d*)_)?\d+_", "against": "", "target": target},
            **{"input_dir": f"{place}/data/raw", "output_dir": f"{place}/data", "report_dir": f"{place}/reports"},
            **{"weights": "imagenet", "engine": "litert", "spark_master": "local[*]", "driver_memory": "4g"},
            **{"batch_size": 16, "images_per_task": 1024, "fresh": False, "replace": False},
            **{"backbone": "mobilenet_v2", "input_size": 0, "csv": "international"},
        },
        "model": {
            **{"weights": "imagenet", "sha256": "6dab8ef2ce8915ac", "tensors": 260, "parameters": 2257984},
            **{"bytes": 9031936, "engine": "litert", "model_id": "mobilenetv2-litert-2fe7736b45e8"},
            **{"input_size": 224, "features": 1280, "backbone": "mobilenet_v2"},
        },
        "counts": {
            **{"listed": features + errors, "features": features, "errors": errors},
            **{"reused": 281, "computed": features - 281},
        },
        "ignored": ignored,
        "ignored_kinds": {"text": ignored} if ignored else {},
        "notes": [],
        "images_per_second": 203.45,
        "pca": {
            **{"requested": 200, "kept": K, "variance_target": 0.95, "components_for_target": 5},
            **{"cumulative": 0.9751, "first_share": 0.4211, "said": "7 components keep 97.5% of the total variance."},
        },
        "quality": None,
        "seconds": {
            **{"listing": 0.5, "model": 1.25, "extraction": 61.5, "pca": 20.25},
            **{"quality": 19.75, "saving": 12.5, "report": 7.65},
        },
        "versions": {"fruits": "1.0", "spark": "3.5.8", "python": "3.11.7", "java": None, "platform": "Linux-6.1"},
    }


_RATES = {"2": {"nn1": 0.4246, "linear": 0.4606}, "5": {"nn1": 0.9607, "linear": 0.8899}}
_QUALITY: dict[str, Any] = {
    "official": {"train": 1281, "test": 427, "classes": 3, "features": 1280, "accuracy": _RATES},
    "by_group": {
        "0->r": {"train": 640, "test": 641, "classes": 3, "accuracy": {"5": {"nn1": 0.7041, "linear": 0.6385}}}
    },
    "nearest_in_same_group": 0.9274,
    "components_within_one_point": {"official": 5, "by_group": 5},
    "notes": [],
}


def _write_results(
    folder: Path, images: pd.DataFrame, manifest: dict[str, Any], *, errors: int, ignored: int, quality: bool
) -> None:
    csv = FORMATS[manifest["params"]["csv"]]
    scores = np.random.default_rng(0).normal(size=(len(images), K)).astype(np.float32)
    columns = {name: pa.array(images[name]) for name in ("path", "label", "split")}
    table = pa.table(columns | {"pca": pa.array(scores.tolist(), pa.list_(pa.float32()))})
    (folder / results.SCORES).mkdir(parents=True)
    pq.write_table(table, folder / results.SCORES / "part-00000.parquet")
    csv.write_scores(folder / results.SCORES_CSV, table, width=K)
    csv.write_table(folder / results.METADATA, images)
    shares = np.array([0.4211, 0.25, 0.15, 0.08, 0.05, 0.02, 0.004])
    csv.write_table(
        folder / results.VARIANCE,
        pd.DataFrame({"component": np.arange(1, K + 1), "share": shares, "cumulative": np.cumsum(shares)}),
    )
    bad = [ErrorRow(f"Training/Kiwi/bad {number}.jpg", "decode", "truncated file") for number in range(errors)]
    other = [IgnoredRow(f"Training/Kiwi/note {number}.txt", "text", "not an image") for number in range(ignored)]
    csv.write_rows(folder / results.ERRORS, ErrorRow._fields, bad)
    csv.write_rows(folder / results.IGNORED, IgnoredRow._fields, other)
    if quality:
        rows = [("official", k, name, rate) for k, rates in _RATES.items() for name, rate in rates.items()]
        accuracies = pd.DataFrame(rows, columns=["split", "k", "classifier", "accuracy"])
        csv.write_table(
            folder / "model_info" / "quality.csv", accuracies.assign(low=0.31, high=0.99, train=1281, test=427)
        )
        confused = [("Apple Golden 1", "Kiwi", 22, 0.3384, "a.jpg", "b.jpg")]
        names = ["label", "predicted", "images", "share", "path", "nearest"]
        csv.write_table(folder / "model_info" / "confusions.csv", pd.DataFrame(confused, columns=names))
    owner = {"target": manifest["target"], "input_dir": manifest["params"]["input_dir"]}
    ownership.write_marker(folder, owner=owner)


def _write_report(folder: Path, manifest: dict[str, Any], *, spark: bool) -> None:
    (folder / "spark").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if spark:
        (folder / "spark" / "stages.csv").write_text(_STAGES)
        (folder / "spark" / "executors.csv").write_text(_EXECUTORS)
    if manifest["target"] == "emr":
        (folder / "cluster.json").write_text(json.dumps(CLUSTER))
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 60, 40)).save(picture, "PNG")
    shown = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": "2 images"}
    cells = [
        nbformat.v4.new_markdown_cell("# Fruits! From images to principal components", id="cell-00"),
        nbformat.v4.new_markdown_cell("A text of the user's own", id="own"),
        nbformat.v4.new_code_cell(
            "plots.draw_contact_sheets()", id="cell-12", outputs=[nbformat.v4.new_output("display_data", data=shown)]
        ),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "run.ipynb")
