"""The benchmark's arithmetic and texts, on made-up figures. Nothing here measures time."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from benchmarks import baselines, jobs, report
from benchmarks.corpus import make_corpus
from benchmarks.sections import AFTER, BEFORE, read_sections
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fruits.features.model import Backbone
from fruits.images import open_images
from fruits.networks import find_network
from fruits_cli.deliver import facts


def runs(images: int, *rates: float, **more: Any) -> list[dict[str, Any]]:
    peaks = {"driver": 150, "jvm": 400, "worker": 140}
    return [{"seconds": images / rate, "images": images, "job": 1.0, "peak_mib": peaks, **more} for rate in rates]


def made_up(images: int) -> list[dict[str, Any]]:
    peaks = {"driver": 150, "jvm": 400 + images // 100_000, "worker": 140}
    return [{"steps": {"extraction": 5 + images / 1e5, "PCA": 2.0, "scores": 1.0}, "peak_mib": peaks}]


@pytest.fixture
def found() -> dict[str, Any]:
    sections = [{"seconds": 20.0, "sections": {"1. Set-up": 15.0, AFTER: 5.0}}]
    return {
        "ours @ 6404": runs(6404, 170, 180, 190),
        "two plain processes @ 6404": runs(6404, 200, 220, 240),
        "LiteRT alone": runs(2000, 250),
        "ours @ 67692": runs(67_692, 200, files=68),
        "two plain processes @ 67692": runs(67_692, 210),
        "ours, warm @ 364": runs(300, 190),
        "naive UDF, warm @ 300": runs(300, 10),
        "ours, warm @ 6404": runs(6340, 195),
        "ours @ 640": runs(640, 90, 100),
        "ours, PCA": runs(67_692, 9000, shares=[0.5, 0.25]),
        "pyspark PCA": runs(67_692, 1000, shares=[0.5, 0.25 + 1e-12]),
        "milliseconds": [{"steps": {"read": 0.1, "decode": 0.4, "resize": 0.7, "LiteRT": 7.0}}],
        "fruits run FULL": [{"seconds": 400.0, "sections": {"extraction": 340.0, "pca": 8.0}}],
        "make run": sections,
        "make run, first": sections,
        "million listing": runs(1_000_000, 20_000, selecting=4.0, table_mib=200.0),
        "million PCA": runs(1_000_000, 10_000),
        **{f"table @ {at}": made_up(at) for at in (100_000, 1_000_000, 10_000_000, 100_000_000)},
    }


def test_ratios_are_of_medians_and_say_whether_the_target_is_met(found: dict[str, Any]) -> None:
    ratios = {row.what: (round(row.ratio, 4), row.verdict) for row in report.compare(found)}

    assert ratios == {
        "extraction, 6,404 JPEG files to Parquet / two plain processes": (round(180 / 220, 4), "**not met**"),
        "the same, 67,692 (FULL size)": (round(200 / 210, 4), "**not met**"),
        "the same, 6,404 / LiteRT alone, from memory": (0.72, ""),
        "two plain processes, 6,404 / LiteRT alone": (0.88, ""),
        "extraction, 300 / naive UDF, workers warm in both": (19.0, "met"),
        "PCA fit, 67,692 x 1280, k = 200 / pyspark.ml PCA": (9.0, "**not met**"),
    }
    found["ours @ 67692"] = runs(67_692, 205, files=68)
    assert report.compare(found)[1].verdict == "met"


def test_the_page_holds_the_figures_and_the_plots(found: dict[str, Any], tmp_path: Path) -> None:
    report.write_performance(json.loads(json.dumps(found)), tmp_path, machine={"processor": "abacus", "cores": 2})

    text = (tmp_path / "PERFORMANCE.md").read_text()
    assert "| 180 (170-190, n=3) | 220 (200-240, n=3) | 0.82 | 0.93 | **not met** |" in text
    assert "differ by 1.0e-12 at most" in text
    assert "FULL wrote 68 feature files" in text
    assert "an image costs 10.00 ms of a core" in text
    assert "| 1,000,000 | 2.78 | 21 min | 125 s | 12 s |".replace("125 s", "2 min") in text
    assert "| 100,000,000, reckoned | 17 min | 2 s | 1 s | 150, 1400, 140 |" in text
    assert "| imports, kernel, Spark, figures | 52.0 |\n| **together** | 400.0 |" in text
    assert "$" not in text
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {
        "throughput.png",
        "milliseconds.png",
        "scale.png",
    }


def test_deliverables_take_their_rates_from_the_parts_of_the_file(
    found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = found.pop("table @ 100000")
    found |= {"ours @ 1600": runs(1600, 160), "tf.function UDF @ 1600": runs(1600, 50)}
    written = {"machine": {"cores": 2}, "parts": {"extraction": found, "scale": {"table @ 100000": table}}}
    (tmp_path / facts.BENCHMARK).parent.mkdir(parents=True)
    (tmp_path / facts.BENCHMARK).write_text(json.dumps(written))
    monkeypatch.setattr(facts, "find_repository", lambda: tmp_path)

    bench = facts.read_benchmark()

    assert bench is not None
    assert bench["plain"] == {"ours": 180, "other": 220, "ratio": pytest.approx(180 / 220), "images": 6404}
    assert bench["rates"] == {"lowest": 95, "highest": 200}


def test_a_corpus_repeats_images_under_new_names(fruit_folder: Path, tmp_path: Path) -> None:
    corpus = make_corpus(fruit_folder, tmp_path / "corpus", images=17)

    images = open_images(corpus).list_images(split="Training", classes=["*"])
    assert len(images) == 17
    assert set(images["label"]) == {"Apple Braeburn", "Apple Golden 1"}
    (corpus / images["path"][0]).unlink()
    assert make_corpus(fruit_folder, corpus, images=17) == corpus
    assert len(open_images(corpus).list_images(split="Training", classes=["*"])) == 16


def test_sections_of_a_notebook_add_up(tmp_path: Path) -> None:
    def cell(begin: str, end: str) -> Any:
        times = {"start_time": f"2026-01-01T00:00:{begin}+00:00", "end_time": f"2026-01-01T00:00:{end}+00:00"}
        return new_code_cell("x", metadata={"papermill": times})

    cells = [new_markdown_cell("## 1. A\ntext"), cell("10.000000", "12.000000"), cell("12.000000", "12.500000")]
    cells += [new_markdown_cell("## 2. B"), cell("13.000000", "17.000000")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "run.ipynb")
    start = 1_767_225_600.0  # 2026-01-01

    sections = read_sections(tmp_path / "run.ipynb", started=start + 4, ended=start + 20)

    assert sections == {BEFORE: 6.0, "1. A": 2.5, "2. B": 4.0, AFTER: 3.0}


def test_a_model_reaches_the_process_of_a_job_whole() -> None:
    model = Backbone(
        weights="w.h5",
        sha256="ab",
        engine="litert",
        tensors=260,
        parameters=1,
        bytes=4,
        folder=Path("/models"),
        network=find_network("mobilenet_v2", 128),
    )
    assert jobs._load_backbone(baselines.facts_of(model)) == model
