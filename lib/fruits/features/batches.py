"""The batches of a store of features, which appear whole.

`<output_dir>/features/<model_id>/batch-*/` is shared by all modes. A batch counts once all its files are there and
`write_batch` has left its `_SUCCESS`.
"""

import io
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fruits.arrow import MapBatches, to_strings
from fruits.errors import FruitsError
from fruits.folders import as_folder, write_bytes, write_parquet
from fruits.local import LEFTOVERS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# `_temporary` and checksums: of earlier versions, whose files Spark wrote.
_PART = re.compile(r"_temporary/.*|\.?(part[^/]*\.parquet|_SUCCESS)(\.crc)?", re.DOTALL)


def list_batches(store: Path) -> list[Path]:
    """Return the complete batches of a store, oldest first."""
    return sorted(marker.parent for marker in store.glob("batch-*/_SUCCESS"))


def list_unfinished(store: Path) -> list[Path]:
    """Return the batches that a run did not complete, oldest first; none that holds files of others."""
    unfinished = []
    for batch in sorted(store.glob("batch-*")):
        names = [entry.relative_to(batch).as_posix() for entry in batch.rglob("*") if not entry.is_dir()]
        if "_SUCCESS" not in names and all(_PART.fullmatch(name) or LEFTOVERS.fullmatch(name) for name in names):
            unfinished.append(batch)
    return unfinished


def name_batch(when: datetime) -> str:
    """Return the beginning of the name of a batch that is made at a time, in UTC; names sort by time."""
    return f"batch-{when:%Y%m%dT%H%M%S%f}"


def _keep_files(batch: Path, kept: set[str]) -> None:
    """Remove the other files: a task that was tried again, or was slow and started twice, may have left two."""
    files = {file.name: file for file in batch.glob("*.parquet")}
    if kept - files.keys():
        raise FruitsError(
            f"the workers wrote features to {batch}, but this machine does not see them; set output_dir to a folder "
            "that all machines share, or to one in S3."
        )
    for name in files.keys() - kept:
        with suppress(OSError):  # readers pass over doubles
            files[name].unlink()


def write_batch(images: "DataFrame", extract: MapBatches, *, store: Path) -> Path:
    """Write what `extract` makes of a table, columns `rows.STORED`, as a new batch; return its folder.

    Readers see the batch only when it is complete. Each task writes one file itself: the JVM would take a tenth of an
    image's time to turn features into rows.
    """
    batch = store / f"{name_batch(datetime.now(UTC))}-{uuid.uuid4().hex[:8]}"

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        name, parts = f"part-{uuid.uuid4()}.parquet", []
        for part in extract(batches):
            parts.append(part)
            # The progress bar counts these rows.
            yield pa.RecordBatch.from_arrays([to_strings([name] * part.num_rows)], ["file"])
        if any(part.num_rows for part in parts):
            # Not into the file: in S3 a part of it would be there as soon as writing fails.
            write_parquet(pa.Table.from_batches(parts), content := io.BytesIO())
            write_bytes(batch / name, content.getvalue())

    try:
        kept = {row.file for row in images.mapInArrow(write, "file string").collect()}
        _keep_files(batch, kept)
    except BaseException:
        with suppress(OSError):  # what it holds is not found again
            as_folder(batch).remove()
        raise
    if kept:  # of images that cannot be read there is none: they will be tried again
        write_bytes(batch / "_SUCCESS", b"")
    return batch
