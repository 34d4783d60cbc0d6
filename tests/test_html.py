"""The page for readers, made of a tiny notebook that holds one of everything."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import find_tag
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fruits.notebook import quote
from fruits_cli.front import Front
from fruits_cli.html import render_html

# One white pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
FETCHED = re.compile(r"""(?:src|srcset|poster|data|action)\s*=\s*["']?(?!data:)[^"'\s>]*/|@import|url\(""")


def render(*cells: Any, **options: Any) -> BeautifulSoup:
    return BeautifulSoup(render_html(new_notebook(cells=list(cells)), **{"title": "A run", **options}), "html.parser")


def code(*outputs: Any, tags: Sequence[str] = ()) -> Any:
    return new_code_cell("secret_code = 1", outputs=list(outputs), metadata={"tags": list(tags)})


def show(**data: str) -> Any:
    return new_output("display_data", data={name.replace("_", "/", 1): value for name, value in data.items()})


def stream(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


@pytest.fixture
def page() -> BeautifulSoup:
    counts = pd.DataFrame({"images": [492, 1_000]}, index=pd.Index(["Apple", "Pear"], name="label"))
    return render(
        new_markdown_cell("# Fruits\n\nSee [the data](https://example.org) and [below](#How-many?)."),
        code(tags=["parameters"]),
        new_markdown_cell("## How many?"),
        code(show(text_html=counts.to_html())),
        new_markdown_cell("## Variance at 90 %"),
        code(stream("extract:  10%\rextract:  50%\rextract: 100%\n"), stream("WARN noise", name="stderr")),
        code(show(image_png=PNG, text_plain="<Figure size 9x9>"), show(image_png=PNG)),
    )


def test_there_is_no_code_and_no_prompt(page: BeautifulSoup) -> None:
    assert "secret_code" not in str(page)
    assert not re.search(r"(In|Out)\s*\[", page.get_text())
    assert "<Figure" not in page.get_text()
    assert find_tag(page, "html")["lang"] == "en"
    assert page.find("meta", attrs={"name": "viewport"})  # it fits a phone
    assert find_tag(page, "title").get_text() == "A run"


def test_nothing_is_fetched_and_nothing_runs(page: BeautifulSoup) -> None:
    assert not FETCHED.search(str(page))
    assert page.find_all(["script", "link", "iframe"]) == []
    assert [a["href"] for a in page.find_all(href=re.compile("//"))] == ["https://example.org"]
    policy = find_tag(page, "meta[http-equiv=Content-Security-Policy]")["content"]
    assert str(policy).startswith("default-src 'none'")


def test_what_outputs_would_fetch_or_run_is_removed() -> None:
    page = render(
        new_markdown_cell("# T\n\n![a pear](https://example.org/pear.png) ![](https://example.org/x.png)"),
        code(
            show(text_html='<script src="https://cdn.example/x.js"></script><link href="//cdn.example/x.css">'),
            show(text_html='<style>@import "//cdn.example/x.css";</style><p onclick="run()" id="kept">kept</p>'),
            show(text_html='<p style="background: url(https://cdn.example/x.png)">plain</p>'),
            show(text_html='<a href="javascript:run()">link</a><img srcset="https://cdn.example/x.png 2x" src="x">'),
            show(application_javascript="run()"),
        ),
    )

    assert not re.search(r"cdn\.example|run\(", str(page))
    assert find_tag(page, "#kept").attrs == {"id": "kept"}
    assert "[picture left out: a pear]" in page.get_text()
    assert page.find_all("img") == []


def test_progress_bars_are_shown_as_they_ended(page: BeautifulSoup) -> None:
    assert [pre.get_text() for pre in page.find_all("pre")] == ["extract: 100%\n"]


def test_a_finished_bar_is_a_sentence_and_an_unfinished_one_stays() -> None:
    bars = [f"{n}%|███ | {n}/100 [00:08<00:00, 11.16 images/s]" for n in (40, 100)]
    page = render(code(stream("\r".join(bars))), code(stream(bars[0])))

    assert "100 images in 00:08, 11.16 images/s" in [tag.get_text() for tag in page.find_all("p")]
    assert [pre.get_text() for pre in page.find_all("pre")] == [bars[0]]


def test_the_appendix_comes_last_and_its_sections_are_not_numbered() -> None:
    setup = new_markdown_cell("## 1. Set-up", metadata={"tags": ["appendix"]})
    cells = [new_markdown_cell("# T"), setup, code(stream("values"), tags=["appendix"]), new_markdown_cell("## 2. PCA")]

    page = render(*cells)

    headings = [(tag.name, tag.find(string=True)) for tag in page.find_all(re.compile(r"^h\d"))]
    assert headings == [("h1", "T"), ("h2", "PCA"), ("h2", "Appendix"), ("h3", "Set-up")]
    assert find_tag(page, "pre").find_previous("h3")


def test_an_empty_table_is_a_sentence() -> None:
    table = pd.DataFrame(columns=["path", "stage", "reason"])

    page = render(new_markdown_cell("# T"), code(show(text_html=table.to_html())))

    assert page.find("table") is None
    assert "The table of path, stage and reason has no rows." in page.get_text()


def test_the_front_stands_below_the_question() -> None:
    links = {"a&b.html": "A map"}
    front = Front("MINI", "Two <i>numbers</i>.", [("images", "12")], [("author", "É & co")], links)

    page = render(new_markdown_cell("# T\n\nHow many?\n\nThe method."), front=front)

    told = [" ".join(tag.get_text().split()) for tag in page.select("h1, p, dl")]
    facts = ["images 12", "author É & co"]
    assert told == ["T", "How many?", "MINI", "Two <i>numbers</i>.", *facts, *links.values(), "The method."]
    assert [link["href"] for link in page.select(".front a")] == ["a&b.html"]


def test_stderr_and_errors_are_shown_where_a_cell_failed() -> None:
    error = new_output(
        "error", ename="FruitsError", evalue="no <images>\nadd some", traceback=["\x1b[31mline 1\x1b[0m"]
    )

    page = render(code(stream("quiet", name="stderr")), code(stream("loud", name="stderr"), error))

    assert "quiet" not in page.get_text()
    assert find_tag(page, "pre.stderr").get_text() == "loud"
    box = find_tag(page, "[role=alert]")
    assert [tag.get_text() for tag in box.find_all(["strong", "pre"])] == [
        "FruitsError",
        "no <images>\nadd some",
        "line 1",
    ]


def test_widgets_and_hidden_cells_are_left_out() -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "0%|          | 0/10"}
    note = new_markdown_cell("for developers", metadata={"tags": ["hide"]})
    cells = [code(new_output("display_data", data=widget)), code(stream("hidden"), tags=["hide"]), code(stream("seen"))]

    assert find_tag(render(note, *cells), "main").get_text().split() == ["A", "run", "seen"]


def test_banner_and_title_are_escaped() -> None:
    page = render(new_markdown_cell("# T"), title="<b>run</b>", banner="<script>1</script> & more")

    assert find_tag(page, "title").get_text() == "<b>run</b>"
    assert find_tag(page, ".banner").get_text().strip() == "<script>1</script> & more"
    assert page.find_all(["script", "b"]) == []


def test_contents_link_to_the_sections(page: BeautifulSoup) -> None:
    links = page.select("nav.contents a")

    assert [link.get_text() for link in links] == ["How many?", "Variance at 90 %"]
    ids = {tag["id"]: tag.name for tag in page.find_all(id=True)}
    assert [ids[unquote(str(link["href"])[1:])] for link in page.select('a[href^="#"]') if link in links] == [
        "h2",
        "h2",
    ]
    assert all(unquote(str(link["href"])[1:]) in ids for link in page.select('a[href^="#"]'))


def test_headings_are_in_order_with_anchors_of_their_own() -> None:
    page = render(new_markdown_cell("# One\n#### Deep\n# Two\n## Same\n## Same\n### Same"), title="T")

    headings = page.find_all(re.compile(r"^h\d"))
    assert [tag.name for tag in headings] == ["h1", "h2", "h2", "h2", "h2", "h3"]
    assert [tag["id"] for tag in headings[3:]] == ["Same", "Same-2", "Same-3"]


def test_the_title_stands_in_for_a_missing_first_heading() -> None:
    page = render(code(stream("text")), title="A run")

    assert [heading.get_text() for heading in page.find_all("h1")] == ["A run"]
    assert page.find("nav") is page.find(class_="banner") is None


def test_pictures_are_embedded_and_described(page: BeautifulSoup) -> None:
    described = ["Variance at 90 %, figure 1", "Variance at 90 %, figure 2"]
    assert [picture["alt"] for picture in page.find_all("img")] == described
    assert {picture["src"] for picture in page.find_all("img")} == {f"data:image/png;base64,{PNG}"}
    told = render(code(show(image_png=PNG, text_plain='the "sheet"')))
    assert find_tag(told, "img")["alt"] == 'the "sheet"'


def test_tables_scroll_align_numbers_and_name_their_headers(page: BeautifulSoup) -> None:
    table = find_tag(page, "div.table[tabindex='0'] table")

    assert table.get("border") is None
    assert [th.get_text() for th in table.select("thead th")] == ["label", "images"]
    assert [th["scope"] for th in table.find_all("th")] == ["col", "col", "row", "row"]
    assert [td["class"] for td in table.find_all("td")] == [["number"], ["number"]]
    assert find_tag(table, "thead th.number").get_text() == "images"


def test_a_file_is_read_and_its_pictures_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "pear.png").write_bytes(base64.b64decode(PNG))
    file = tmp_path / "run.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# T\n\n![a pear](pear.png)")]), file)

    picture = find_tag(BeautifulSoup(render_html(file, title="T"), "html.parser"), "img")

    assert picture.attrs == {"src": f"data:image/png;base64,{PNG}", "alt": "a pear"}


def test_the_notebook_stays_as_it_was() -> None:
    notebook = new_notebook(cells=[code(stream("a\rb\n"), stream("noise", name="stderr"))])
    before = nbformat.writes(notebook)

    render_html(notebook, title="T")

    assert nbformat.writes(notebook) == before


NAMES = [
    "*a* _b_",
    "`c`",
    "``",
    "$x$ $$",
    "<b>&amp;</b> <script>",
    "|d|",
    "[e](f)",
    "g\n\n# h",
    "\\",
    "https://i.org/**",
]


@pytest.mark.parametrize("as_file", [True, False])
def test_a_quoted_name_is_shown_as_it_is(tmp_path: Path, as_file: bool) -> None:
    text = f"**{len(NAMES)}** names: {', '.join(map(quote, NAMES))}."
    notebook = new_notebook(cells=[code(show(text_markdown=text))])
    nbformat.write(notebook, tmp_path / "run.ipynb")

    page = BeautifulSoup(render_html(tmp_path / "run.ipynb" if as_file else notebook, title="T"), "html.parser")

    assert [tag.get_text() for tag in page.find_all("code")] == [name.replace("\n", "\\n") for name in NAMES]
    assert page.find_all(["script", "b", "a", "em"]) == []


def test_the_users_templates_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "nbconvert/templates/base/display_priority.j2"
    template.parent.mkdir(parents=True)
    template.write_text("{{ 1 / 0 }}")
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))

    assert find_tag(render(code(stream("text"))), "pre").get_text() == "text"
