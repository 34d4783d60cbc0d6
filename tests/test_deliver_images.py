"""The document of the images and of the execution, read as text from its PDF."""

import io
import re
from pathlib import Path
from typing import Any, cast

import pytest
from deliveries import CLUSTER, SPARK, Delivery, write_delivery
from PIL import Image
from pypdf import PdfReader

from fruits.errors import UsageError
from fruits.yaml_text import read_yaml
from fruits_cli.deliver.facts import Run
from fruits_cli.deliver.images import make_images
from fruits_cli.deliver.language import LANGUAGES, TEMPLATES, Language
from fruits_cli.deliver.screenshots import Screenshot

TEXTS = read_yaml(TEMPLATES / "images.yaml")


def read_pdf(delivery: Delivery, language: str = "en", **options: Any) -> str:
    """Make the document and return its text, on one line; no-break spaces stay."""
    cluster = CLUSTER if (delivery.report / "cluster.json").exists() else None
    run = Run(delivery.report, delivery.results, delivery.manifest, cluster)
    content = make_images(run, author="Ada Lovelace", language=Language(language), **options)
    return join_lines(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages))


def join_lines(text: str) -> str:
    return re.sub(r"[ \n]+", " ", text)


def list_sentences(language: str) -> list[str]:
    """Return the longest part without a fact of each text of more than two words, in print of the language."""
    texts = [Language(language).polish(pair[language]) for pair in TEXTS.values() if pair["en"] != pair["fr"]]
    parts = [max(re.split(r"\{[^}]*\}", text), key=len).strip() for text in texts]
    return [part for part in parts if part.count(" ") > 1]


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    return write_delivery(tmp_path_factory.mktemp("emr"), target="emr")


@pytest.fixture(scope="module")
def printed(delivery: Delivery) -> dict[str, str]:
    return {language: read_pdf(delivery, language) for language in LANGUAGES}


NUMBERS = {
    "en": [
        *("1,281", "1,284 = 1,281 + 3", "97.5%", "8.61_MiB", "260 tensors, 2,257,984 parameters", "€0.33, 23.5_min"),
        *("12 / 3 / 2,345", "1,042_s", "November 21, 2025, 08:15 UTC", "0.4246", "3 of 1,284 (0.2%)", "1.73"),
    ],
    "fr": [
        *("1-281", "1-284 = 1-281 + 3", "97,5-%", "8,61_Mio", "260 tenseurs, 2-257-984 paramètres", "0,33_€, 23,5_min"),
        *("12 / 3 / 2-345", "1-042_s", "21 novembre 2025, 08:15 UTC", "0,4246", "3 sur 1-284 (0,2-%)", "1,73"),
    ],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_of_manifest_cluster_and_tables_are_in_the_format_of_the_language(
    printed: dict[str, str], language: str
) -> None:
    spelt = [number.replace("_", "\xa0").replace("-", "\u202f") for number in NUMBERS[language]]
    assert [number for number in spelt if number not in printed[language]] == []
    other = next(code for code in LANGUAGES if code != language)
    assert [
        number for number in NUMBERS[other] if number in printed[language] and number not in NUMBERS[language]
    ] == []


@pytest.mark.parametrize(("language", "other"), [("en", "fr"), ("fr", "en")])
def test_no_sentence_is_of_the_other_language(printed: dict[str, str], language: str, other: str) -> None:
    assert [text for text in list_sentences(other) if text in printed[language]] == []
    assert sum(text in printed[language] for text in list_sentences(language)) > len(list_sentences(language)) / 2


def test_cluster_and_spark_are_as_they_were(printed: dict[str, str]) -> None:
    nodes = [f"{name} m5.xlarge on demand {count}" for name, count in (("primary", 1), ("core", 2))]
    spark = [SPARK["application"], "mapInArrow at extraction.py:120", "ip-10-0-0-12.eu-west-1.compute.internal 4"]
    known = [
        CLUSTER["id"],
        CLUSTER["release"],
        "eu-west-1, eu-west-1a",
        CLUSTER["step"]["id"],
        "SSE-S3",
        *nodes,
        *spark,
    ]
    assert [text for text in known if text not in printed["en"]] == []
    assert "not encrypted" in printed["en"]


def test_places_in_s3_are_links_to_its_console(delivery: Delivery) -> None:
    run = Run(delivery.report, delivery.results, delivery.manifest, CLUSTER)
    pages = PdfReader(io.BytesIO(make_images(run, author="A", language=Language("en")))).pages
    notes = [note.get_object() for page in pages for note in page.get("/Annots", [])]
    links = {note["/A"]["/URI"] for note in notes if "/A" in note}
    console = "https://console.aws.amazon.com/s3/buckets/fruits-test?prefix="
    assert links >= {f"{console}data/raw/", f"{console}data/APPLES/pca/csv/pca.csv", f"{console}reports/emr/APPLES/"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_local_run_says_so_and_leaves_aws_out(tmp_path: Path, language: str) -> None:
    text = read_pdf(write_delivery(tmp_path), language)

    assert TEXTS["local_said"][language].replace("'", "’") in text
    assert [
        name for name in ("aws", "aws_nodes", "aws_encryption", "where_links") if TEXTS[name][language] in text
    ] == []
    assert CLUSTER["bucket"] not in text
    assert TEXTS["drawn"][language].split(":")[0].strip() not in text


def test_a_run_without_event_log_evaluation_and_errors_says_so(tmp_path: Path) -> None:
    text = read_pdf(write_delivery(tmp_path, spark=False, quality=False, errors=0, ignored=0))

    for name in ("no_spark", "no_errors", "no_ignored"):
        assert TEXTS[name]["en"] in text
    assert "model_info/quality.csv is not among the results." in text
    assert "1,281 = 1,281 + 0 good" in text


def test_the_sample_says_so(tmp_path: Path) -> None:
    text = read_pdf(write_delivery(tmp_path, target="sample", weights="random"))

    assert TEXTS["drawn"]["en"] in text
    assert TEXTS["untrained"]["en"] in text


def test_many_errors_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    text = read_pdf(write_delivery(tmp_path, errors=40))

    assert "Rows × columns: 40 × 3; shown: 20 × 3." in text
    assert text.count("truncated file") == 20


def test_results_that_were_changed_are_not_good(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path)
    file = delivery.results / "metadata" / "metadata.csv"
    file.write_text("path,label,split,length,modified\na.jpg,Kiwi,all,3,4\n")

    text = read_pdf(delivery)

    assert "≠ 1,281" in text
    assert TEXTS["check_changed"]["en"] in text
    assert text.count("NOT GOOD") == 2


def test_long_names_and_names_in_other_scripts_stay_on_the_page(tmp_path: Path) -> None:
    long = "/home/" + "/".join(["a_long-name.of_a_folder"] * 4) + "/" + "x" * 120
    labels = {"りんご": 5, "تفاح": 4, "Яблоко" * 20: 3, "*[a] #b $c$ _d_ <e> @f \\": 2, "007": 1}
    delivery = write_delivery(
        tmp_path, place=long, labels=labels | {f"Class {n}": 1 for n in range(300)}, csv="excel-fr"
    )
    run = Run(delivery.report, delivery.results, delivery.manifest)

    pages = cast("list[bytes]", make_images(run, author="A", language=Language("fr"), format="png", ppi=40))

    for page in pages:
        edge = Image.open(io.BytesIO(page)).convert("L").crop((305, 0, 331, 468))  # right of the margin
        assert edge.getextrema() == (255, 255)
    text = read_pdf(delivery, "fr")
    # pypdf returns the shapes of Arabic letters, and a blank where a name was broken.
    names = [label.replace(" ", "") for label in labels if label != "تفاح"]
    assert [name for name in names if name not in text.replace(" ", "")] == []
    assert "Les 132 classes les plus grandes, sur 305." in text


def test_screenshots_have_the_names_of_their_files(tmp_path: Path) -> None:
    def draw(size: tuple[int, int]) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", size, "navy").save(stream, "PNG")
        return stream.getvalue()

    sizes = {"01 Bucket S3": (400, 200), "02 Étape": (400, 250), "03 Téléphone": (200, 500)}
    shots = [Screenshot(draw(size), name, size) for name, size in sizes.items()]

    text = read_pdf(write_delivery(tmp_path), screenshots=shots)

    assert [name for name in sizes if name not in text] == []
    assert TEXTS["screenshots"]["en"] in text


def test_a_report_without_its_notebook_is_refused(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path)
    (delivery.report / "run.ipynb").unlink()

    with pytest.raises(UsageError, match="is not an executed notebook"):
        read_pdf(delivery)
