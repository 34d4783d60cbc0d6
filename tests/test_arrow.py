"""Arrow columns that share numpy's memory, and workers that stay without pandas."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from fruits.arrow import to_binary, to_column, to_lists, to_matrix, to_strings

WORK = """
import sys
import numpy as np
import pyarrow as pa
from fruits.arrow import to_column, to_strings
from fruits.features.udf import Extractor
from fruits.images.rows import LISTED
from fruits.images.tree import ClassFolders
from fruits.moments import _sum_task

class Errors:
    def add(self, rows):
        print(*map(tuple, rows))

names = to_strings(["a", "b"])
from pathlib import Path
status = (Path(sys.argv[1]) / "a").stat()
numbers = [to_column(np.array([number, 1])) for number in (status.st_size, status.st_mtime_ns)]
columns = [*[names] * 3, *numbers, to_strings(["", ""])]
batch = pa.RecordBatch.from_arrays(columns, LISTED)
make = lambda: lambda pixels: np.ones((len(pixels), 1280), np.float32)
source = ClassFolders(Path(sys.argv[1]))
extractor = Extractor(model_id="m", make_predict=make, source=source, batch_size=2, errors=Errors())
features = list(extractor.extract([batch]))
assert [rows.num_rows for rows in features] == [1]
assert list(_sum_task([rows.select(["features"]) for rows in features]))[0][1].count == 1
print("pandas" in sys.modules)
"""


def test_columns_are_what_pyarrow_makes_of_them() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert to_column(matrix[:, 1]).equals(pa.array([1.0, 4.0], pa.float32()))
    assert to_column(np.array([3, -1])).equals(pa.array([3, -1], pa.int64()))
    assert to_lists(matrix).equals(pa.array([[0, 1, 2], [3, 4, 5]], pa.list_(pa.float32())))
    assert to_binary(b"\x00ab").equals(pa.array([b"\x00ab"]))
    assert to_strings(["pêche", "", "a"]).equals(pa.array(["pêche", "", "a"]))
    assert len(to_strings([])) == 0
    np.testing.assert_array_equal(to_matrix(to_lists(matrix)), matrix)
    np.testing.assert_array_equal(to_matrix(to_lists(matrix).slice(1)), matrix[1:])
    assert len(to_lists(matrix[:0])) == 0


def test_a_worker_extracts_and_sums_without_pandas(tmp_path: Path, image_bytes: Callable[..., bytes]) -> None:
    (tmp_path / "a").write_bytes(image_bytes())

    said = subprocess.run([sys.executable, "-c", WORK, str(tmp_path)], check=True, capture_output=True, text=True)

    assert said.stdout.split() == ["('b',", "'read',", "'No", "such", "file", "or", "directory')", "False"]
