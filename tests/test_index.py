"""The page that lists all reports: newest first, from manifests of any version."""

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from conftest import find_tag
from test_front import MANIFEST, QUALITY

from fruits.errors import UsageError
from fruits_cli.front import describe_front
from fruits_cli.index import INDEX, Report, render_index, write_index


def read_tiles(page: BeautifulSoup) -> list[dict[str, str]]:
    return [
        {find_tag(tile, "dt").text: find_tag(tile, "dd").text for tile in tiles.find_all("div")}
        for tiles in page.select("dl.tiles")
    ]


def test_runs_are_listed_newest_first_with_what_they_found() -> None:
    new = MANIFEST | {"started": "2026-11-02T10:00:00+00:00", "quality": QUALITY}
    old = MANIFEST | {"started": "2026-11-01T10:00:00+00:00"}
    html = render_index([Report("local", "old", old), Report("local", "my pears", new, ["run.html", "atlas.html"])])
    page = BeautifulSoup(html, "html.parser")

    assert [heading.text for heading in page.find_all("h2")] == ["my pears (local)", "old (local)"]
    fronts = [describe_front(manifest) for manifest in (new, old)]
    assert read_tiles(page) == [dict(front.tiles) for front in fronts]
    assert all(f"{front.asked} {front.answer}" in page.text for front in fronts)
    assert page.text.count("Images: Fruits-360 by Horea Muresan") == 2
    addresses = ["local/my%20pears/run.html", "local/my%20pears/atlas.html", "local/old/run.html"]
    assert [link["href"] for link in page.find_all("a")] == addresses
    assert "2026-11-02 10:00 UTC" in page.text
    assert not page.find_all(["script", "link", "img"])


@pytest.mark.parametrize("content", [None, [], {}, {"counts": 3, "pca": [], "quality": "no", "started": 5}])
def test_a_manifest_of_another_form_is_no_error(content: Any) -> None:
    page = BeautifulSoup(render_index([Report("local", "<b>", content)]), "html.parser")
    assert find_tag(page, "h2").text == "<b> (local)"
    assert read_tiles(page) == []


def test_the_page_is_made_of_the_reports_in_a_folder_and_replaces_only_itself(tmp_path: Path) -> None:
    for name, text in {"local/A": json.dumps({"started": "2026"}), "emr/B": "{", "local/.draft": "{}"}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(text)
        (tmp_path / name / "run.html").touch()
    (tmp_path / "local/empty").mkdir()
    for _ in range(2):
        page = BeautifulSoup(write_index(tmp_path).read_text(), "html.parser")
        assert [heading.text for heading in page.find_all("h2")] == ["A (local)", "B (emr)"]
    assert "The manifest cannot be read" in page.text

    (tmp_path / INDEX).write_text("mine")
    with pytest.raises(UsageError, match="stays as it is"):
        write_index(tmp_path)
    assert (tmp_path / INDEX).read_text() == "mine"
