"""The tables of a run: what they hold, and that a good one is never lost."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from conftest import Array

from fruits import results
from fruits.arrow import to_lists
from fruits.errors import FruitsError
from fruits.images.rows import NAMES, ErrorRow
from fruits.moments import Moments
from fruits.ownership import RESULTS, check_whole, find_foreign, write_marker
from fruits.pca import PCA, decompose
from fruits.pca_model import load_pca

LABELS = ['Apple "Red", 1', "Poire à cuire", "Kiwi"]
OWNER = {"target": "local", "input_dir": "/somewhere", "model_id": "mobilenet-1"}
IGNORED = [
    ["Training/Kiwi/a, \r.txt", ".txt", "not a suffix of images"],
    ["Training/Kiwi/b", "no suffix", "it is empty"],
]


@pytest.fixture(scope="module")
def features() -> Array:
    """Scores in the thousands, where the shortest text of a float32 is off by more than 1e-6."""
    return (1000 * np.random.default_rng(3).normal(size=(12, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> pd.DataFrame:
    labels = [LABELS[number % 3] for number in range(12)]
    paths = [f"Training/{label}/{12 - number}_100.jpg" for number, label in enumerate(labels)]
    return pd.DataFrame({"path": paths, "label": labels, "split": "Training", "length": 9, "modified": 7})


@pytest.fixture(scope="module")
def pca(features: Array) -> PCA:
    return decompose(Moments.of(features.astype(np.float64)), k=4)


@pytest.fixture(scope="module")
def scores(features: Array, images: pd.DataFrame, pca: PCA) -> pa.Table:
    named = pa.Table.from_pandas(images[[*NAMES]], preserve_index=False)
    return named.append_column("pca", to_lists(pca.transform(features))).sort_by("path")


def test_a_folder_of_scores_holds_nothing_else(saved: Path) -> None:
    """Some readers take every file of a folder for Parquet."""
    names = {file.name for file in (saved / results.SCORES).iterdir() if file.suffix != ".parquet"}
    assert names == {"_SUCCESS"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, scores: pa.Table, images: pd.DataFrame, pca: PCA) -> Path:
    folder = tmp_path_factory.mktemp("out") / "MINI"
    lost = pd.DataFrame(
        [{"path": "Training/Kiwi/x.jpg", "label": "Kiwi", "split": "Training", "length": 0, "modified": 1}]
    )
    errors = [("Training/Kiwi/x.jpg", "decode", 'empty, "0" bytes')]
    everything = pd.concat([images, lost])
    ignored = pd.DataFrame(IGNORED[::-1], columns=["path", "kind", "reason"])
    tables = {"images": everything, "pca": pca, "errors": errors, "ignored": ignored}
    results.save_results(folder, scores=scores, owner=OWNER, **tables)
    return folder


def test_csv_is_one_sorted_file_equal_to_the_parquet(saved: Path) -> None:
    text = pd.read_csv(saved / "pca/csv/pca.csv")
    table = ds.dataset(saved / "pca/parquet").to_table().to_pandas().sort_values("path", ignore_index=True)

    assert text.columns.tolist() == ["path", "label", "split", "pc_001", "pc_002", "pc_003", "pc_004"]
    assert text["path"].tolist() == sorted(text["path"])
    assert text["label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(text.filter(like="pc_"), np.stack(table["pca"]), atol=1e-6)


def test_scores_are_those_of_the_features(saved: Path, features: Array, images: pd.DataFrame) -> None:
    text = pd.read_csv(saved / "pca/csv/pca.csv").set_index("path").loc[images["path"]]

    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(text.filter(like="pc_")), np.abs(left * values)[:, :4], rtol=1e-5, atol=1e-2)


def test_parquet_folder_is_flat_and_typed(saved: Path) -> None:
    schema = ds.dataset(saved / "pca/parquet").schema

    assert schema.names == ["path", "label", "split", "pca"]
    assert str(schema.field("pca").type.value_type) == "float"
    assert not [entry for entry in (saved / "pca/parquet").iterdir() if entry.is_dir()]


def test_model_info(saved: Path, pca: PCA) -> None:
    variance = pd.read_csv(saved / "model_info/variance.csv")

    assert variance["component"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(variance["cumulative"], pca.cumulative_variance_ratio)
    np.testing.assert_array_equal(np.load(saved / "model_info/mean.npy"), pca.mean)


@pytest.mark.parametrize("name", ["mean", "components"])
def test_another_model_than_the_one_that_was_saved_is_found(saved: Path, pca: PCA, name: str) -> None:
    scores = results.read_scores(saved)
    wrong = replace(pca, **{name: np.nextafter(getattr(pca, name), 9)})
    with pytest.raises(FruitsError, match=f"the PCA that was read back has other {name} than the one that was saved"):
        results.check_results(saved, scores=scores, pca=wrong, paths=scores["path"].to_pylist())


def test_metadata_and_errors_share_out_the_images(saved: Path, images: pd.DataFrame) -> None:
    metadata = pd.read_csv(saved / "metadata/metadata.csv")
    with (saved / "errors/errors.csv").open(newline="") as stream:
        errors = list(csv.reader(stream))

    assert sorted(metadata["path"]) == sorted(images["path"])
    assert set(metadata["label"]) == set(LABELS)
    assert errors == [["path", "stage", "reason"], ["Training/Kiwi/x.jpg", "decode", 'empty, "0" bytes']]


def test_what_was_ignored_is_listed_beside_the_errors(saved: Path) -> None:
    with (saved / "errors/ignored.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == [["path", "kind", "reason"], *IGNORED]


@pytest.mark.parametrize(
    ("name", "header"), [("international", "path,kind,reason"), ("excel-fr", "\ufeffpath;kind;reason")]
)
def test_nothing_ignored_is_a_header(
    tmp_path: Path, images: pd.DataFrame, scores: pa.Table, pca: PCA, name: str, header: str
) -> None:
    tables = {"images": images, "pca": pca, "errors": []}
    results.save_results(tmp_path / "MINI", scores=scores, owner=OWNER, csv=name, **tables)
    assert (tmp_path / "MINI/errors/ignored.csv").read_text().splitlines() == [header]


def test_everything_reads_back(saved: Path, images: pd.DataFrame, pca: PCA) -> None:
    paths = sorted(set(images["path"]) - {"Training/Kiwi/x.jpg"})
    scores = results.read_scores(saved)
    checks = results.check_results(saved, scores=scores, pca=pca, paths=paths)

    assert checks.set_index("check")["found"]["PCAModel read back"] == "6 x 4"
    with pytest.raises(FruitsError, match="12 Parquet rows and 12 CSV rows; 13 were written"):
        results.check_results(saved, scores=scores, pca=pca, paths=[*paths, "Training/Kiwi/y.jpg"])
    with pytest.raises(FruitsError, match=r"of other images than those selected now, .*again from its first cell"):
        results.check_results(saved, scores=scores, pca=pca, paths=[*paths[:-1], "Training/Kiwi/y.jpg"])


def test_a_blank_cell_of_the_csv_is_found(saved: Path, pca: PCA, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "MINI")
    header, *rows = (folder / results.SCORES_CSV).read_text().splitlines()
    blank = ",".join([*rows[-1].split(",")[:-1], ""])
    (folder / results.SCORES_CSV).write_text("\n".join([header, *rows[:-1], blank]) + "\n")
    scores = results.read_scores(folder)
    with pytest.raises(FruitsError, match="CSV and Parquet scores differ by nan"):
        results.check_results(folder, scores=scores, pca=pca, paths=scores["path"].to_pylist())


def test_a_failure_while_saving_keeps_the_last_good_results(
    saved: Path, images: pd.DataFrame, scores: pa.Table, pca: PCA
) -> None:
    before = {file: file.read_bytes() for file in saved.rglob("*") if file.is_file()}

    with pytest.raises(TypeError):
        results.save_results(saved, scores=scores, images=images, pca=pca, errors=cast("Any", None), owner=OWNER)

    assert {file: file.read_bytes() for file in saved.rglob("*") if file.is_file()} == before
    assert [entry.name for entry in saved.parent.iterdir()] == ["MINI"]


@pytest.mark.parametrize(("name", "owner"), [("thesis.txt", OWNER), (None, OWNER | {"input_dir": "/elsewhere"})])
def test_what_others_put_there_during_the_run_stays(
    tmp_path: Path,
    images: pd.DataFrame,
    scores: pa.Table,
    pca: PCA,
    name: str | None,
    owner: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Directly before the exchange it is looked once more, whose the folder is and what it holds."""
    folder, write = tmp_path / "MINI", write_marker

    def write_while_others_do(draft: Path, **options: Any) -> None:
        write(draft, **options)
        folder.mkdir()
        (folder / (name or "pca.csv")).write_text("mine")
        if not name:
            write(folder, owner=OWNER)

    monkeypatch.setattr(results, "write_marker", write_while_others_do)
    with pytest.raises(FruitsError, match="while the run was at work: that folder stays as") as caught:
        results.save_results(folder, scores=scores, images=images, pca=pca, errors=[], owner=owner)
    assert caught.value.exit_code == 1
    assert (folder / (name or "pca.csv")).read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["MINI"]


def test_files_that_earlier_versions_did_not_list_are_known(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "MINI")
    (tmp_path / "MINI/run.json").write_text('{"target": "local", "input_dir": "/somewhere"}')
    assert find_foreign(tmp_path / "MINI", RESULTS) == []


def test_listed_must_be_features_plus_errors() -> None:
    counts = results.reconcile(listed=5, features=3, computed=1, errors=2)
    assert counts == {"listed": 5, "features": 3, "errors": 2, "reused": 2, "computed": 1}
    with pytest.raises(FruitsError, match=r"\+1 are unaccounted for"):
        results.reconcile(listed=5, features=3, computed=3, errors=1)


def test_too_many_errors_end_the_run_and_leave_their_reasons(tmp_path: Path) -> None:
    errors = [ErrorRow("a.jpg", "decode", "empty file (0 bytes)"), ErrorRow("b.jpg", "read", "Permission denied")]
    counts = results.reconcile(listed=40, features=38, computed=38, errors=2)

    results.check_error_share(counts, [], most=0.05, file=tmp_path / "errors.csv")
    assert not (tmp_path / "errors.csv").exists()
    results.check_error_share(counts, errors, most=0.05, file=tmp_path / "errors.csv")
    assert (tmp_path / "errors.csv").exists()
    with pytest.raises(FruitsError, match=r"^2 of 40 images \(5%\) could not be read; max_error_share allows 4\.9%"):
        results.check_error_share(counts, errors, most=0.049, file=tmp_path / "errors.csv")
    assert (tmp_path / "errors.csv").read_text().splitlines()[1] == "a.jpg,decode,empty file (0 bytes)"
    nothing = results.reconcile(listed=0, features=0, computed=0, errors=0)
    results.check_error_share(nothing, [], most=0, file=tmp_path / "errors.csv")


def test_a_mixed_set_of_results_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MINI"
    shutil.copytree(saved, folder)
    check_whole(folder)
    part = next((folder / "pca/parquet").glob("*.parquet"))

    part.rename(part.with_name("part-of-another-run.parquet"))
    with pytest.raises(
        FruitsError, match=r"mixed set of results: pca/parquet/part-\S+ is (missing|of another run); run"
    ):
        check_whole(folder)
    part.with_name("part-of-another-run.parquet").rename(part)
    mean = folder / "model_info/mean.npy"
    mean.write_bytes(mean.read_bytes()[:-1] + b"x")
    with pytest.raises(FruitsError, match=r"model_info/mean\.npy was changed"):
        load_pca(folder)
    (folder / "run.json").unlink()
    with pytest.raises(FruitsError, match="holds no finished results"):
        check_whole(folder)
