"""The presentation: slides and speaker notes of a run, as a PDF."""

import io
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from fruits import folders
from fruits.errors import FruitsError
from fruits.images import open_images
from fruits.local import LocalFolder
from fruits.manifest import STAGES
from fruits.params import find_repository
from fruits_cli.deliver.facts import PAIRS, Run, gather_facts, list_confusions
from fruits_cli.deliver.figures import Charts
from fruits_cli.deliver.language import Language, fill_texts, read_texts
from fruits_cli.deliver.notebook import SHEETS, find_pictures, read_notebook
from fruits_cli.deliver.typesetting import typeset

_PICTURES = 15
# As `notebook.WARNINGS`: by whether the images are the sample and whether the weights are untrained.
_BANNERS = {(True, True): "images", (True, False): "drawn", (False, True): "weights"}


def make_presentation(run: Run, *, author: str, language: Language, **options: Any) -> bytes:
    """Return the presentation of a run; `options` as `typeset`."""
    facts = {**gather_facts(run), "author": author}
    texts = fill_texts(read_texts("presentation", language), facts, language)
    pictures = _read_pictures(run)
    sheets = [] if pictures else find_pictures(read_notebook(run.report / "run.ipynb"), SHEETS)[:1]
    files = Charts(run, facts=facts, texts=texts, language=language).draw()
    data = {
        "texts": texts,
        "author": author,
        "banner": _BANNERS.get((run.manifest["target"] == "sample", run.manifest["params"]["weights"] == "random")),
        "figures": list(files),
        "sheets": len(sheets),
        "pictures": [[name, label] for name, (label, _) in pictures.items()],
        "bars": _list_bars(run, facts, texts, language),
    }
    files |= {name: content for name, (_, content) in pictures.items()}
    files |= {f"sheet{number}": _crop(sheet) for number, sheet in enumerate(sheets)}
    return typeset("presentation", data, language=language, files=files, **options)


def _list_bars(run: Run, facts: dict[str, Any], texts: Any, language: Language) -> dict[str, list[dict[str, Any]]]:
    """Return the bars that the template draws: a label, values and what is written beside them."""
    bars: dict[str, list[dict[str, Any]]] = {}

    def add(chart: str, label: str, value: float, kind: str) -> None:
        bars.setdefault(chart, []).append({"label": label, "value": value, "said": language.format(value, kind)})

    for row in list_confusions(run):
        add("confusions", f"{row['label']} → {row['predicted']}", row["share"], "share")
    for stage in STAGES:
        if seconds := facts["seconds"].get(stage):
            add("stages", texts[f"stage.{stage}"], seconds, "seconds")
    for pair in PAIRS if facts["bench"] else ():
        for side in ("ours", "other"):
            add(f"pair.{pair}", "", facts["bench"][pair][side], "count")
    for way in ("by_broadcast", "by_closure") if facts["found"]["sent"] else ():
        add("sent", texts[f"sent.{way}"], facts["found"]["sent"][way], "bytes")
    for what in ("estimate", "cost") if facts["cluster"] else ():
        money = facts["cluster"][what]
        add("cost", texts[f"cost.{what}"], money["amount"], "places")
        bars["cost"][-1]["said"] = language.format(money, "money")
    return bars


def _read_pictures(run: Run) -> dict[str, tuple[str, bytes]]:
    """Return one image of each of a few classes, evenly, with its label; none if they are not on this machine."""
    folder = folders.resolve(run.manifest["params"]["input_dir"], base=find_repository())
    images, pictures = run.images, dict[str, tuple[str, bytes]]()
    if len(images) and isinstance(folders.as_folder(folder), LocalFolder):
        classes = images["label"].unique()
        chosen = classes[np.unique(np.linspace(0, len(classes) - 1, _PICTURES).astype(int))]
        with suppress(FruitsError, OSError):
            examples = open_images(folder).read_examples(images[images["label"].isin(chosen)], count=len(chosen))
            for label, pixels in examples:
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, "PNG")
                pictures[f"pictures/{len(pictures)}.png"] = (label, stream.getvalue())
    return pictures


def _crop(sheet: bytes) -> bytes:
    """Return the first rows of a contact sheet, as many as a slide has room for: cut where all is white."""
    picture, stream = Image.open(io.BytesIO(sheet)).convert("RGB"), io.BytesIO()
    white = np.flatnonzero(np.asarray(picture).min(axis=(1, 2)) > 250)
    fitting = white[(white < 0.62 * picture.width) & (white > 0)]
    bottom = int(fitting[-1]) if len(fitting) and picture.height > 0.62 * picture.width else picture.height
    picture.crop((0, 0, picture.width, bottom)).save(stream, "PNG")
    return stream.getvalue()
