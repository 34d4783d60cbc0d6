"""What is handed in of a finished run: names, pages, and the numbers that the presentation states."""

import io
import re
from pathlib import Path
from typing import cast

import pytest
from conftest import REPOSITORY
from deliveries import Delivery, write_delivery
from PIL import Image
from pypdf import PdfReader

from fruits.errors import UsageError
from fruits.ownership import REPORT, check_owner, keep_folders
from fruits_cli.deliver.facts import find_run, read_benchmark
from fruits_cli.deliver.handover import spell_author
from fruits_cli.deliver.language import LANGUAGES, Language, read_texts
from fruits_cli.deliver.presentation import make_presentation


def read_slides(delivery: Delivery, root: Path, *, target: str = "local", language: str = "en") -> list[str]:
    """Return the texts of the pages, with one kind of space, and of apostrophe."""
    settings = {"report_dir": str(root / "reports"), "output_dir": str(root / "data")}
    run = find_run(delivery.report.name, target=target, settings=settings)
    content = make_presentation(run, author="Ada Lovelace", language=Language(language))
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(content)).pages]


def count_slides(pages: list[str]) -> int:
    """Return how many slides there are, each one page, by their footers; the first and speaker notes have none."""
    footers = [found for page in pages if (found := re.search(r"Ada Lovelace (\d+) / (\d+)$", page))]
    assert [int(found[1]) for found in footers] == list(range(2, len(footers) + 2))
    assert {int(found[2]) for found in footers} == {len(footers) + 1}
    return len(footers) + 1


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the pages of the presentation of a run on AWS, by language."""
    root = tmp_path_factory.mktemp("aws")
    delivery = write_delivery(root, target="emr")
    return {language: read_slides(delivery, root, target="emr", language=language) for language in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_presentation_states_the_numbers_of_a_run_on_aws_in_its_language(
    decks: dict[str, list[str]], language: str
) -> None:
    pages = decks[language]
    said = " ".join(pages)

    assert count_slides(pages) == 16
    shared = ["j-2AXXXXXXGAPLF", "emr-7.14.0", "eu-west-1"]
    expected = {
        "en": ["1,281", "97.5%", "8.61 MiB", "260", "96.1%", "70.4%", "33.8%", "203 images a second", "€0.33", "€0.27"],
        "fr": ["1 281", "97,5 %", "8,61 Mio", "260", "96,1 %", "70,4 %", "33,8 %", "203 images par seconde", "0,33 €"],
    }[language]
    for text in [*shared, *expected]:
        assert text in said, text
    bench = read_benchmark()
    assert bench
    share = " ".join(Language(language).format(bench["plain"]["ratio"], "share").split())
    assert re.search(rf"{re.escape(share)} (of the speed of plain processes|de la vitesse sans Spark)", said), share


@pytest.mark.parametrize(("language", "other"), [LANGUAGES, LANGUAGES[::-1]])
def test_no_text_is_of_the_other_language(decks: dict[str, list[str]], language: str, other: str) -> None:
    said = " ".join(decks[language])
    ours, theirs = (read_texts("presentation", Language(code)) for code in (language, other))
    words = [
        re.split(r"\{[^{}]*\}", line)
        for key, text in theirs.items()
        for line in (text if isinstance(text, list) else [text or ""])
        if text != ours[key]
    ]
    foreign = {part.replace("**", "").strip() for parts in words for part in parts if len(part.split()) > 2}
    known = " ".join(str(text) for text in ours.values())
    assert len(foreign) > 100
    assert [part for part in foreign if part in said and part not in known] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_slide_reaches_into_its_footer(tmp_path: Path, language: str) -> None:
    write_delivery(tmp_path, target="local")
    settings = {"report_dir": str(tmp_path / "reports"), "output_dir": str(tmp_path / "data")}
    run = find_run("APPLES", target="local", settings=settings)
    made = make_presentation(run, author="Ada Lovelace", language=Language(language), format="png", ppi=72)
    pages = cast("list[bytes]", made)
    strips = []
    for page in pages[1:]:
        picture = Image.open(io.BytesIO(page)).convert("L")
        # Between the body, which ends at 16.9 cm of 19.05 cm, and the footer.
        strips.append(picture.crop((0, int(0.892 * picture.height), picture.width, int(0.918 * picture.height))))
    assert len(strips) > 12
    assert [number for number, strip in enumerate(strips, 2) if strip.getextrema() != (255, 255)] == []


def test_a_sample_of_an_older_version_has_its_banner_on_each_of_twelve_slides_or_more(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path, target="sample", weights="random", quality=False, spark=False)
    pages = read_slides(delivery, tmp_path, target="sample", language="fr")
    said = " ".join(pages)
    assert 12 <= count_slides(pages) <= 16
    assert all("ces résultats ne disent rien des fruits" in page for page in pages)
    assert not re.search("None|none|€|nan", said)


def test_results_of_another_run_are_refused(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path)
    file = delivery.results / "model_info" / "variance.csv"
    *first, last = file.read_text().splitlines()
    file.write_text("\n".join([*first, f"{last.rsplit(',', 1)[0]},0.5", ""]))
    with pytest.raises(UsageError, match="another run"):
        read_slides(delivery, tmp_path)
    file.unlink()
    with pytest.raises(UsageError, match="no results"):
        read_slides(delivery, tmp_path)


def test_a_later_run_keeps_the_deliverables(tmp_path: Path) -> None:
    report, draft = tmp_path / "report", tmp_path / "draft"
    (report / "deliverables").mkdir(parents=True)
    (report / "deliverables" / "Ada_Lovelace_2_images_112025.pdf").write_text("pages")
    draft.mkdir()
    check_owner(report, REPORT, owner={"target": "local", "input_dir": "in"}, replace=False)
    keep_folders(report, draft, REPORT)
    assert (draft / "deliverables" / "Ada_Lovelace_2_images_112025.pdf").read_text() == "pages"


@pytest.mark.parametrize(
    ("author", "spelt"),
    [
        ("Ada Lovelace", "Ada_Lovelace"),
        ("Jean-Noël d'Arc  ", "Jean-Noël_d_Arc"),
        ("../x", "x"),
        ("Élodie\u0301 -", "Élodié"),
        ("王 小明", "王_小明"),
        ("हिन्दी लेखक", "हिन्दी_लेखक"),
    ],
)
def test_an_author_makes_a_name_of_a_file(author: str, spelt: str) -> None:
    assert spell_author(author) == spelt


@pytest.mark.parametrize("author", ["", "  ", "/", "..", "42", "a" * 201])
def test_an_author_without_a_letter_is_refused(author: str) -> None:
    with pytest.raises(UsageError, match="--author"):
        spell_author(author)


def test_what_the_slide_on_protection_says_is_in_the_templates_of_aws() -> None:
    base, cluster = ((REPOSITORY / "emr" / "templates" / name).read_text() for name in ("base.yaml", "cluster.yaml"))
    for fact in ("RestrictPublicBuckets: true", "SSEAlgorithm", '"aws:SecureTransport": "false"', "Sid: ReadOnly"):
        assert fact in base
    for fact in ("EnableAtRestEncryption: true", "EnableInTransitEncryption: false", "IdleTimeout:", "Scheduler"):
        assert fact in cluster
