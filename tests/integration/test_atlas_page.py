"""`atlas.html` as a reader uses it: Chromium opens the file without a network. Screenshots are in reports/tests/."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_atlas import NASTY, make_points, read_colour

from fruits_cli.atlas import write_atlas

browser = pytest.importorskip("browser", reason="selenium is not installed: make test-integration installs it")
ActionChains = browser.ActionChains
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.is_installed(), reason=browser.NO_BROWSER),
]
FULL = 67_692


class Reader:
    """What a reader does and sees on the page."""

    def __init__(self, chrome: Any, downloads: Path) -> None:
        self.chrome, self.downloads = chrome, downloads
        chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        chrome.execute_cdp_cmd("Network.enable", {})
        cut = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        chrome.execute_cdp_cmd("Network.emulateNetworkConditions", cut)

    def open(self, page: Path) -> int:
        """Return the milliseconds until the points were drawn."""
        self.chrome.get(page.as_uri())
        return int(self.wait_for(lambda: self.run("return document.body.dataset.ready")))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def find(self, name: str) -> Any:
        return self.chrome.find_element("id", name)

    def wait_for(self, reached: Any) -> Any:
        deadline = time.monotonic() + 20
        while not (found := reached()):
            assert time.monotonic() < deadline, self.find("status").text
            time.sleep(0.05)
        return found

    def point(self, *places: tuple[float, float], press: bool = True) -> None:
        """Press at the first of some places, shares of the map's width and height, move to the others, release."""
        size = self.find("marks").size
        moves = ActionChains(self.chrome, duration=20)
        for number, (x, y) in enumerate(places):
            offset = round((x - 0.5) * (size["width"] - 4)), round((y - 0.5) * (size["height"] - 4))
            moves.move_to_element_with_offset(self.find("marks"), *offset)
            if press and number == 0:
                moves.click_and_hold()
        (moves.release() if press else moves).perform()

    def count_colours(self) -> int:
        """Count the colours of the map's pixels that many pixels have."""
        return int(
            self.run("""
                const map = document.getElementById("points"), counts = new Map();
                const copy = new OffscreenCanvas(map.width, map.height).getContext("2d", { willReadFrequently: true });
                copy.drawImage(map, 0, 0);
                const pixels = copy.getImageData(0, 0, map.width, map.height).data;
                new Uint32Array(pixels.buffer).forEach((pixel) => counts.set(pixel, (counts.get(pixel) ?? 0) + 1));
                return [...counts.values()].filter((count) => count > 1000).length;
            """)
        )

    def save(self) -> list[dict[str, str]]:
        self.find("export").click()
        file = self.downloads / "selection.csv"
        self.wait_for(file.exists)
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        file.unlink()
        return rows


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with browser.open_browser(tmp_path / "profile") as chrome:
        reader = Reader(chrome, tmp_path / "downloads")
        yield reader
        assert chrome.get_log("browser") == [], "nothing is reported on the console"
        assert reader.run("return performance.getEntriesByType('resource').length") == 0, "nothing is requested"


def make_two_classes() -> pd.DataFrame:
    """Return 40 red points in a column on the left and 40 blue ones on the right, some with names of any characters."""
    points = pd.concat([make_points(40, label="red"), make_points(40, label="blue")], ignore_index=True)
    points["x"], points["y"] = np.repeat([0.0, 1.0], 40), np.tile(np.linspace(0, 0.6, 40), 2)
    points["right"] = pd.array([True] * 79 + [False], dtype="boolean")
    points["embedding_x"], points["embedding_y"] = points["y"], points["x"]
    points["neighbours"] = [[79, 78, 77, 76, 75]] * 80
    points.loc[79, "group"] = NASTY
    return points


LEFT, RIGHT = 0.042, 0.958
AROUND_THE_LEFT = [(0.01, 0.02), (0.4, 0.02), (0.4, 0.98), (0.01, 0.98), (0.01, 0.02)]


def test_a_reader_sees_chooses_and_saves_images(reader: Reader, tmp_path: Path) -> None:
    page = tmp_path / "é #1 atlas.html"
    kept = ("/0.jpg", "/16.jpg", "/39.jpg")
    write_atlas(
        make_two_classes(),
        page,
        title=NASTY,
        read_image=lambda path: read_colour(path) if path.endswith(kept) else None,
    )
    reader.open(page)

    reader.point((LEFT, 0.5), press=False)
    assert reader.find("tip").text.startswith("red")
    assert "nearest kept frame, 16.jpg" in reader.find("tip").text
    colour = "return [...document.querySelector('#tip canvas').getContext('2d').getImageData(16, 16, 1, 1).data]"
    reader.wait_for(lambda: np.abs(np.subtract(reader.run(colour)[:3], (250, 20, 20))).max() < 30)

    reader.point((LEFT, 0.5))
    assert "Training/red/" in reader.find("image").text
    neighbours = reader.chrome.find_elements("css selector", ".thumbnails button")
    assert [entry.text for entry in neighbours] == ["blue"] * 5
    neighbours[0].click()
    assert "Training/blue/39.jpg" in reader.find("image").text
    reader.find("marks").send_keys("p")
    assert "Training/blue/39.jpg" in reader.find("image").text, "it is the only one of its film"

    reader.find("lasso").click()
    reader.point(*AROUND_THE_LEFT)
    assert reader.find("status").text == "40 images inside the lasso."
    assert len(reader.chrome.find_elements("css selector", "#gallery button")) == 40
    assert {row["path"] for row in reader.save()} == {f"Training/red/{number}.jpg" for number in range(40)}

    reader.find("search").send_keys("BLUE/39")
    assert reader.find("status").text == "1 image found for “BLUE/39”."
    (saved,) = reader.save()
    assert (saved["path"], saved["label"], saved["right"]) == ("Training/blue/39.jpg", "blue", "wrong")
    assert saved["group"] == NASTY
    browser.save_screenshot(reader.chrome, "atlas")
    reader.find("clear").click()
    assert reader.find("status").text.startswith("Nothing is selected")


def test_legend_entries_switch_classes_off(reader: Reader, tmp_path: Path) -> None:
    write_atlas(make_two_classes(), tmp_path / "atlas.html", title="A", read_image=lambda path: None)
    reader.open(tmp_path / "atlas.html")
    assert reader.count_colours() == 3, "two classes and the paper"
    for hidden in (True, False):
        reader.run("document.querySelector('.map').hidden = arguments[0]", hidden)
        time.sleep(0.2)  # the page draws in its own time
    reader.wait_for(lambda: reader.count_colours() == 3)

    red = reader.chrome.find_elements("css selector", "#legend button")[1]
    assert red.text.split() == ["red", "40"]
    red.click()
    reader.wait_for(lambda: reader.count_colours() == 2)
    assert reader.find("summary").text.startswith("40 of 80 images.")
    reader.point((LEFT, 0.5), press=False)
    assert not reader.find("tip").is_displayed()
    reader.find("inside").click()
    assert reader.find("status").text == "40 images in view."
    red.click()
    reader.find("clear").click()
    reader.wait_for(lambda: reader.count_colours() == 3)

    fields = {entry.text: entry for entry in reader.find("field").find_elements("tag name", "option")}
    assert list(fields) == ["Class", "Film", "Nearest neighbour"], "what is the same everywhere is not offered"
    fields["Nearest neighbour"].click()
    assert [entry.text.split() for entry in reader.chrome.find_elements("css selector", "#legend li")] == [
        *(["right", "79"], ["wrong", "1"], ["unknown", "0"])
    ]


def test_the_page_works_on_a_phone(reader: Reader, tmp_path: Path) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    reader.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    reader.chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    write_atlas(make_two_classes(), tmp_path / "atlas.html", title="A", read_image=read_colour)
    reader.open(tmp_path / "atlas.html")
    assert reader.run("return document.documentElement.scrollWidth") == 390

    box = reader.find("marks").rect
    places = [(box["x"] + box["width"] * share, box["y"] + box["height"] / 2) for share in (LEFT, 0.3, 0.7)]

    def touch(kind: str, *where: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(where)]
        reader.chrome.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", places[0])
    touch("touchEnd")
    reader.wait_for(lambda: reader.find("tip").is_displayed())
    assert reader.find("tip").text.startswith("red")
    assert "Training/red/" in reader.find("image").text
    before = reader.run("return document.getElementById('points').toDataURL()")
    touch("touchStart", places[1], places[2])
    touch("touchMove", (places[1][0] - 60, places[1][1]), (places[2][0] + 60, places[2][1]))
    touch("touchEnd")
    reader.wait_for(lambda: reader.run("return document.getElementById('points').toDataURL()") != before)
    reader.find("inside").click()
    assert reader.find("status").text == "0 images in view.", "two fingers zoomed in on the empty middle"


def test_a_full_run_is_there_within_three_seconds(reader: Reader, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [make_points(FULL // 131 + 1, label=f"class {number}") for number in range(131)]
    points = pd.concat(labels, ignore_index=True)[:FULL]
    points["x"], points["y"], points["embedding_x"], points["embedding_y"] = rng.normal(size=(4, FULL))
    points["neighbours"] = (np.arange(FULL)[:, None] + rng.integers(-20, 20, (FULL, 5))).clip(0, FULL - 1).tolist()
    write_atlas(points, tmp_path / "atlas.html", title="A", read_image=lambda path: None)

    assert reader.open(tmp_path / "atlas.html") < 3000
    started = time.monotonic()
    reader.find("search").send_keys("class 77/")
    assert reader.find("status").text == f"{FULL // 131 + 1} images found for “class 77/”."
    assert time.monotonic() - started < 3
