"""Features of many rows for the PCAs: those of few images, repeated under new names."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.catalogue import Model


def repeat_store(work: Path, folder: str, model: Model, *, rows: int) -> Path:
    """Return the store of `make bench` with so many rows, or make one from a store of the images in a folder."""
    store, few = work / f"store-{rows}", work / "few"
    if any(store.glob("batch-*/_SUCCESS")):
        return store
    if not any(few.glob("batch-*/_SUCCESS")):
        settings = json.dumps({"input_dir": folder, "model": model.facts, "store": str(few)})
        subprocess.run([sys.executable, "-m", "benchmarks.jobs", "ours", settings, str(work / "few.json")], check=True)
    _repeat(few, store, rows=rows)
    return store


def _repeat(few: Path, store: Path, *, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(few.glob("batch-*/*.parquet"))
    draft = store.with_name("draft")
    shutil.rmtree(draft, ignore_errors=True)
    written = copy = 0
    while written < rows:
        for number, file in enumerate(files):
            table = pq.ParquetFile(file).read()[: rows - written]
            names = pa.array([f"{path}-{copy}" for path in table["path"].to_pylist()], pa.string())
            place = draft / f"{file.parent.name}-{copy}-{number}"
            place.mkdir(parents=True)
            table = table.set_column(table.column_names.index("path"), "path", names)
            pq.write_table(table, place / "part-0.parquet", compression="NONE")
            (place / "_SUCCESS").touch()
            written += len(table)
            if written == rows:
                break
        copy += 1
    draft.rename(store)
