"""New images through a saved PCA, in this process and on Spark: the same scores, the right neighbours."""

import dataclasses
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import fruits
from fruits import ownership, results
from fruits.errors import FruitsError, UsageError
from fruits.images.rows import SCORED, arrow_schema
from fruits.params import load_params
from fruits_cli import project
from fruits_cli.project import describe_neighbours, find_images, load_saved, project_images, save_projection

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def saved(spark: SparkSession, fruit_folder: Path, models: Path, tmp_path: Path) -> Path:
    """The results of a run on the Training images, with untrained weights."""
    folder = tmp_path / "out/MINI"
    shutil.copytree(models, tmp_path / "out/models")
    images = fruits.list_images(fruit_folder, split="Training")
    model = fruits.load_model("random", folder=tmp_path / "out/models")
    features = fruits.extract_features(images, model, spark=spark)
    params = dataclasses.replace(load_params("MINI", "sample"), input_dir=str(fruit_folder))
    pca = fruits.fit_pca(features, k=4)
    owner = ownership.describe_owner(params, model_id=model.model_id)
    table = pca.transform(features).orderBy("path").toPandas()
    scores = pa.Table.from_pandas(table, arrow_schema(SCORED), preserve_index=False)
    results.save_results(folder, scores=scores, images=images, pca=pca, errors=[], owner=owner)
    return folder


def load(folder: Path, **settings: str) -> project.SavedModel:
    return load_saved(str(folder), target="sample", settings=settings)


def test_an_image_of_the_run_gets_its_scores_and_finds_itself(
    saved: Path, fruit_folder: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fruit_folder / "Training/Kiwi/broken.jpg"
    broken.write_bytes(b"no image")
    model, images = load(saved), find_images([str(fruit_folder / "Training"), str(broken)])
    assert len(images) == 10  # a file that is named twice is taken once
    table = results.read_scores(saved)

    done = project_images(model, images)
    monkeypatch.setattr(project, "_WITHOUT_SPARK", 0)
    on_spark = project_images(model, images)

    assert [(row.path, row.stage) for row in done.errors] == [(str(broken), "decode")]
    for found in (done, on_spark):
        assert found.errors == done.errors
        scores = found.scores.sort_by("path")
        assert scores["path"].to_pylist() == table["path"].to_pylist()
        np.testing.assert_allclose(results.to_matrix(scores), results.to_matrix(table), atol=1e-6)
    first = done.neighbours[done.neighbours["rank"] == 1]
    assert (first["nearest"] == first["path"]).all()
    assert first["distance"].max() < 1e-5
    lines = describe_neighbours(done, most=8)
    assert lines[0] == done.scores["path"][0].as_py()
    assert lines[1].startswith("  nearest classes: Apple Braeburn (")
    assert lines[-2:] == ["and 1 more images", f"cannot be read: {broken} ({done.errors[0].reason})"]


def test_tables_replace_those_of_an_earlier_projection_and_nothing_else(
    saved: Path, fruit_folder: Path, tmp_path: Path
) -> None:
    done = project_images(load(saved), find_images([str(fruit_folder / "Test")]), count=2)
    folder = tmp_path / "out/projected/MINI"
    for _ in range(2):
        save_projection(done, folder, csv="international")
    assert {file.name for file in folder.iterdir()} == set(project.FILES)
    table, text = pq.read_table(folder / "projected.parquet"), pd.read_csv(folder / "projected.csv")
    assert table["label"].to_pylist() == text["label"].tolist() == ["Apple Braeburn", "Apple Golden 1", "Kiwi"]
    np.testing.assert_allclose(text.filter(like="pc_"), results.to_matrix(table), atol=1e-6)
    assert pd.read_csv(folder / "neighbours.csv", float_precision="round_trip").equals(done.neighbours)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        save_projection(done, folder, csv="international")


def test_what_does_not_go_together_is_refused_in_a_sentence(saved: Path, fruit_folder: Path, tmp_path: Path) -> None:
    models = sorted((saved.parent / "models").iterdir())
    for key, value in (("engine", "tensorflow"), ("backbone", "resnet50"), ("input_size", "96")):
        with pytest.raises(UsageError, match=rf"{key} = .*, here it is {value}; leave out --set {key}\."):
            load(saved, **{key: value})
    assert sorted((saved.parent / "models").iterdir()) == models  # nothing was converted for it
    marker = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps(marker | {"model_id": "other"}))
    with pytest.raises(UsageError, match=r"MINI is of the model other, and what is loaded here is mobilenetv2-litert-"):
        load(saved)
    (saved / "run.json").write_text(json.dumps(marker))
    with pytest.raises(UsageError, match=r"APPLES holds no results of a run; in .*/out there are MINI\. Name one"):
        load(Path("APPLES"), output_dir=str(saved.parent))
    accents = saved.with_name(unicodedata.normalize("NFC", "été"))
    saved.rename(accents)
    assert load_saved("e\u0301te\u0301/", target="sample", settings={"output_dir": str(saved.parent)}).folder == accents
    accents.rename(saved)
    with pytest.raises(UsageError, match="there is no file or folder"):
        find_images([str(tmp_path / "none.jpg")])
    broken = fruit_folder / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(FruitsError, match=r"none of the 1 images can be read; .*broken\.jpg: not an image"):
        project_images(load(saved), find_images([str(broken)]))


def test_results_that_were_moved_use_the_models_of_the_target_and_their_own_csv_format(
    saved: Path, tmp_path: Path
) -> None:
    marker = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps(marker | {"csv": "excel-fr"}))
    shutil.copytree(saved, moved := tmp_path / "elsewhere/renamed")
    found = load(moved, output_dir=str(saved.parent))
    assert found.backbone.folder.is_relative_to(saved.parent)
    assert found.params.csv == "excel-fr"
    assert [entry.name for entry in moved.parent.iterdir()] == ["renamed"]


def test_a_terminal_is_shown_no_control_characters() -> None:
    rows = [["a\n\x1b[2J.jpg", kind, 1, "=é\r", "b.jpg", 0.00012345] for kind in ("class", "image")]
    found = pd.DataFrame(rows, columns=["path", "kind", "rank", "label", "nearest", "distance"])
    done = project.Projection(scores=pa.table({}), neighbours=found, errors=[])
    assert describe_neighbours(done, most=3) == [
        r"a\n\x1b[2J.jpg",
        r"  nearest classes: =é\r (0.000123)",
        "  nearest images : b.jpg (0.000123)",
    ]


def test_results_of_an_earlier_version_take_the_model_of_the_target(saved: Path) -> None:
    marker = json.loads((saved / "run.json").read_text())
    (saved / "run.json").write_text(json.dumps({key: marker[key] for key in marker if key not in ownership.TOLD}))
    assert load(saved).backbone.model_id == marker["model_id"]
