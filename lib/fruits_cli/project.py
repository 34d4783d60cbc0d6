"""New images through the model that a run saved: their scores, and what they resemble."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fruits import arrow, folders, ownership
from fruits.errors import FruitsError, UsageError
from fruits.features.dataframe import extract_features, extract_here
from fruits.features.model import Backbone, load_model
from fruits.images.paths import list_images, locate
from fruits.images.rows import NAMES, SCORED, ErrorRow, arrow_schema
from fruits.neighbours import load_neighbourhood
from fruits.networks import find_network
from fruits.params import RunParams, find_repository, list_modes, load_params
from fruits.pca import PCA
from fruits.pca_model import load_pca
from fruits.results import to_matrix
from fruits.session import open_session
from fruits.tables import FORMATS
from fruits_cli.streams import without_stderr

# Up to so many images are faster without Spark, which takes seconds to start.
_WITHOUT_SPARK = 100
FILES = ("projected.parquet", "projected.csv", "neighbours.csv", "errors.csv")


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What a run saved, and the network that made its features."""

    folder: Path
    params: RunParams
    backbone: Backbone
    pca: PCA


@dataclass(frozen=True, kw_only=True)
class Projection:
    """New images: scores (path, label, split, pca), what is nearest (see `neighbours`), and what cannot be read."""

    scores: pa.Table
    neighbours: pd.DataFrame
    errors: list[ErrorRow]


def load_saved(model: str, *, target: str, settings: Mapping[str, str]) -> SavedModel:
    """Load the PCA and the network of a mode, a name, or a results folder.

    `settings`, as `--set` takes them, win over the parameters of the target and of the run. UsageError if there are
    no such results, or their features are of another network, input size, weights or recipe.
    """
    params = load_params(list_modes()[0], target, settings)  # any mode does: the folders are the target's
    folder = _find_results(model, params)
    run = ownership.read_marker(folder, ownership.RESULTS)
    told = {key: run[key] for key in (*ownership.TOLD, "seed") if key in run and key not in settings}
    params = dataclasses.replace(params, **told)
    _check_settings(folder, run, params)
    places = [place / "models" for place in (folder.parent, params.path("output_dir"))]
    models = next((place for place in places if folders.as_folder(place).exists()), places[-1])
    backbone = load_model(params.weights, **params.model_settings, folder=models, base=find_repository())
    if backbone.model_id != run.get("model_id"):
        raise UsageError(
            f"{folder} is of the model {run.get('model_id')}, and what is loaded here is {backbone.model_id}: another "
            "network, input size, weights, engine or recipe. Leave out --set, or run it again with this model."
        )
    return SavedModel(folder=folder, params=params, backbone=backbone, pca=load_pca(folder))


def _check_settings(folder: Path, run: Mapping[str, Any], params: RunParams) -> None:
    """Refuse another network, input size or engine before it is loaded, which may convert it."""
    for key in ("backbone", "input_size", "engine"):
        asked, used = getattr(params, key), run.get(key)
        if key == "input_size" and used is not None:
            asked, used = (find_network(run["backbone"], size).size for size in (asked, used))
        if used not in (None, asked):
            raise UsageError(f"{folder} was computed with {key} = {used}, here it is {asked}; leave out --set {key}.")


def _find_results(model: str, params: RunParams) -> Path:
    output_dir = params.path("output_dir")
    names = folders.as_folder(output_dir).list_folders()
    places = [folders.resolve(model, base=Path.cwd())]
    if "/" not in (asked := model.rstrip("/")):
        # Accents may be written in another form.
        same = [name for name in names if folders.compose(name) == folders.compose(asked)]
        places = [*(output_dir / name for name in same or [asked]), *places]
    for place in places:
        if ownership.read_marker(place, ownership.RESULTS):
            return place
    there = [name for name in names if (output_dir / name / ownership.MARKER).exists()]
    raise UsageError(
        f"{places[0]} holds no results of a run; in {output_dir} there are {', '.join(there) or 'none'}. Name one of "
        "them, a results folder, or another --target."
    )


def find_images(places: Sequence[str]) -> pd.DataFrame:
    """List files, and the images in and below folders: path, label and split."""
    tables = []
    for place in places:
        path = folders.resolve(locate(place, Path.cwd().as_posix()), base=None)
        if folders.as_folder(path).exists():
            tables.append(list_images(str(path)))
        elif path.exists():
            tables.append(pd.DataFrame({"path": [str(path)], "label": [path.parent.name], "split": ["all"]}))
        else:
            raise UsageError(f"there is no file or folder {path}; name images, or folders that hold some.")
    return pd.concat(tables, ignore_index=True).drop_duplicates("path")


def project_images(saved: SavedModel, images: pd.DataFrame, *, count: int = 3) -> Projection:
    """Compute the scores of images and find what is nearest; on Spark if there are more than 100."""
    project = _project_here if len(images) <= _WITHOUT_SPARK else _project_on_spark
    scores, errors = project(saved, images)
    if not len(scores):
        said = "; ".join(f"{_show(row.path)}: {row.reason}" for row in errors[:5])
        raise FruitsError(f"none of the {len(images)} images can be read; {said}.")
    neighbourhood = load_neighbourhood(saved.folder)
    found = neighbourhood.find(scores["path"].to_pylist(), to_matrix(scores), count=count)
    return Projection(scores=scores, neighbours=found, errors=errors)


def _project_here(saved: SavedModel, images: pd.DataFrame) -> tuple[pa.Table, list[ErrorRow]]:
    with without_stderr():  # LiteRT tells its delegate
        features, errors = extract_here(images, saved.backbone)
    names = features.select(NAMES)
    if not len(features):
        return names, errors
    scores = saved.pca.transform(arrow.to_matrix(features["features"].combine_chunks()))
    return names.append_column("pca", arrow.to_lists(scores)), errors


def _project_on_spark(saved: SavedModel, images: pd.DataFrame) -> tuple[pa.Table, list[ErrorRow]]:
    errors: list[ErrorRow] = []
    spark = open_session(master=saved.params.spark_master, driver_memory=saved.params.driver_memory)
    features = extract_features(images, saved.backbone, spark=spark, on_error="skip", errors=errors)
    rows = saved.pca.transform(features).toPandas()
    return pa.Table.from_pandas(rows, arrow_schema(SCORED), preserve_index=False), errors


def save_projection(projection: Projection, folder: Path, *, csv: str) -> None:
    """Write scores (Parquet and CSV), neighbours and errors; they replace those of an earlier projection."""
    scores = projection.scores.sort_by("path")
    with ownership.replaced_folder(folder, names=FILES) as draft:
        pq.write_table(scores, draft / "projected.parquet")
        FORMATS[csv].write_scores(draft / "projected.csv", scores, width=len(scores["pca"][0]))
        FORMATS[csv].write_table(draft / "neighbours.csv", projection.neighbours)
        FORMATS[csv].write_rows(draft / "errors.csv", ErrorRow._fields, projection.errors)


def describe_neighbours(projection: Projection, *, most: int) -> list[str]:
    """Return what is nearest to each of the first `most` images, as lines of text."""
    lines = []
    for path, found in [*projection.neighbours.groupby("path", sort=False)][:most]:
        lines.append(_show(path))
        for kind, name in (("class", "label"), ("image", "nearest")):
            rows = found[found["kind"] == kind]
            texts = [f"{_show(text)} ({gap:.3g})" for text, gap in zip(rows[name], rows["distance"], strict=True)]
            lines.append(f"  nearest {'classes' if kind == 'class' else 'images '}: {', '.join(texts)}")
    if left := projection.neighbours["path"].nunique() - most:
        lines += [f"and {left:,} more images"] if left > 0 else []
    return lines + [f"cannot be read: {_show(row.path)} ({row.reason})" for row in projection.errors[:most]]


def _show(text: object) -> str:
    """Write what would move the cursor of a terminal as its escape."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text))
