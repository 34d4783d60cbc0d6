"""A fitted PCA in files: a `PCAModel` that Spark loads, and the mean, which Spark's model lacks; without a session."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits.folders import open_output, open_parquet, resolve, write_bytes
from fruits.ownership import RESULTS, check_whole, read_marker
from fruits.pca import PCA

SPARK_MODEL = Path("model_info/pca_model")
MEAN = Path("model_info/mean.npy")

# What `PCAModel.save` writes since Spark 2.4, and all later versions load. A dense matrix, by columns, is of type 1:
# https://github.com/apache/spark/blob/v3.5.8/mllib/src/main/scala/org/apache/spark/ml/linalg/MatrixUDT.scala
# A dense vector is of type 1, too (VectorUDT.scala).
_INTEGERS, _FLOATS = pa.list_(pa.int32()), pa.list_(pa.float64())
_MATRIX = {"type": pa.int8(), "numRows": pa.int32(), "numCols": pa.int32(), "colPtrs": _INTEGERS}
_MATRIX |= {"rowIndices": _INTEGERS, "values": _FLOATS, "isTransposed": pa.bool_()}
_VECTOR = {"type": pa.int8(), "size": pa.int32(), "indices": _INTEGERS, "values": _FLOATS}
_COLUMNS = {"pc": ("MatrixUDT", _MATRIX), "explainedVariance": ("VectorUDT", _VECTOR)}


def save_pca(pca: PCA, folder: Path) -> None:
    """Write the model and the mean below the results of a run.

    Spark's own `transform` does not centre: subtract `pca.mean @ pca.components.T`.
    """
    size = {"numRows": len(pca.mean), "numCols": pca.n_components, "isTransposed": False}
    row = {
        "pc": {"type": 1, "values": pca.components.ravel(), **size},
        "explainedVariance": {"type": 1, "values": pca.explained_variance_ratio},
    }
    with open_output(folder / SPARK_MODEL / "data" / "part-00000.parquet") as stream:
        # Not write_parquet: without the stored schema Spark's description of the columns is lost.
        pq.write_table(pa.Table.from_pylist([row], _make_schema()), stream, compression="NONE")
    write_bytes(folder / SPARK_MODEL / "metadata" / "part-00000", json.dumps(_describe(pca)).encode() + b"\n")
    for part in ("data", "metadata"):
        write_bytes(folder / SPARK_MODEL / part / "_SUCCESS", b"")
    mean = io.BytesIO()
    np.save(mean, pca.mean)
    write_bytes(folder / MEAN, mean.getvalue())


def _make_schema() -> pa.Schema:
    """Return the columns, with the classes of Spark that they are of, which Spark reads from the file's metadata."""
    fields = [
        {
            "name": name,
            "type": {
                "type": "udt",
                "class": f"org.apache.spark.ml.linalg.{kind}",
                "pyClass": f"pyspark.ml.linalg.{kind}",
                "sqlType": None,
            },
            "nullable": True,
            "metadata": {},
        }
        for name, (kind, _) in _COLUMNS.items()
    ]
    types = {name: pa.struct(parts) for name, (_, parts) in _COLUMNS.items()}
    described = json.dumps({"type": "struct", "fields": fields})
    return pa.schema(types, metadata={"org.apache.spark.sql.parquet.row.metadata": described})


def _describe(pca: PCA) -> dict[str, object]:
    """Return the metadata of the model: its class, its parameters."""
    import pyspark

    return {
        "class": "org.apache.spark.ml.feature.PCAModel",
        "timestamp": int(time.time() * 1000),
        "sparkVersion": pyspark.__version__,
        "uid": "pca_fruits",
        "paramMap": {"k": pca.n_components, "inputCol": "features", "outputCol": "pca"},
        "defaultParamMap": {"outputCol": "pca_fruits__output"},
    }


def load_pca(folder: str | Path) -> PCA:
    """Load the PCA that a run saved in `<output_dir>/<MODE>`, here or in S3, without a Spark session.

    Raises
    ------
    FruitsError
        If the folder holds no finished results, or the files of the PCA are not those of one run.
    """
    place = resolve(str(folder), base=Path.cwd())
    check_whole(place, below=MEAN.parent)
    return read_pca(place, model_id=read_marker(place, RESULTS).get("model_id"))


def read_pca(folder: Path, *, model_id: str | None = None) -> PCA:
    """Read what `save_pca` wrote, in a folder that need not be finished."""
    files = (folder / SPARK_MODEL / "data").glob("*.parquet")
    (row,) = pa.concat_tables([open_parquet(file).read() for file in files]).to_pylist()
    components = np.reshape(row["pc"]["values"], (row["pc"]["numCols"], row["pc"]["numRows"]))  # stored by columns
    mean = np.load(io.BytesIO((folder / MEAN).read_bytes()))
    ratio = np.array(row["explainedVariance"]["values"])
    return PCA(mean=mean, components=components, spectrum=ratio, requested=len(components), model_id=model_id)
