"""What a run says at its end and when it is stopped."""

import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fruits_cli.summary import COLUMNS, MOST_LINES, describe_run, describe_stop

PLACES: dict[str, Any] = {"results_dir": Path("/out/MINI"), "report": Path("/reports/local/MINI/run.html")}
SECONDS = {"listing": 0.1, "model": 1.0, "extraction": 20.25, "pca": 5.0, "quality": 3.0, "saving": 2.0, "report": 1.5}


def make_manifest(**more: Any) -> dict[str, Any]:
    counts = {"listed": 6404, "features": 6378, "errors": 26, "reused": 378, "computed": 6000}
    pca = {"kept": 200, "cumulative": 0.955199, "variance_target": 0.95, "components_for_target": 190}
    return {"counts": counts, "ignored": 0, "notes": [], "pca": pca, "seconds": SECONDS} | more


def describe(manifest: dict[str, Any]) -> list[str]:
    return describe_run(manifest, **PLACES, seconds=123.44)


def test_a_run_tells_all_that_a_reader_asks_first() -> None:
    kinds = {"hidden": 2, "no image's suffix": 30}
    assert describe(make_manifest(ignored=32, ignored_kinds=kinds, notes=["Features were computed anew."])) == [
        "Images:  6,404 listed = 6,378 with features + 26 errors",
        "         6,000 computed in this run, 378 reused",
        "Errors:  26, with reasons in /out/MINI/errors/errors.csv",
        "Ignored: 32 files: 30 no image's suffix, 2 hidden",
        "         all in /out/MINI/errors/ignored.csv",
        "PCA:     k = 200, 95.51% of the variance kept; target 95% is reached with 190",
        "Seconds: 123.4 in all: listing 0.1, model 1.0, extraction 20.2, pca 5.0,",
        "         quality 3.0, saving 2.0, report 1.5",
        "Note:    Features were computed anew.",
        "Results: /out/MINI",
        "Report:  /reports/local/MINI/run.html",
    ]


def test_what_there_is_not_is_not_told() -> None:
    counts = {"listed": 5, "features": 5, "errors": 0, "reused": 5, "computed": 0}
    said = describe(make_manifest(counts=counts))
    assert {line.split(":")[0] for line in said if not line.startswith(" ")} == {
        "Images",
        "PCA",
        "Seconds",
        "Results",
        "Report",
    }
    assert "Ignored: 7 other files in the class folders" in describe(make_manifest(ignored=7))


@pytest.mark.parametrize(
    ("target", "cumulative", "needed", "said"),
    [
        (0.999, 0.99899, None, "99.89% of the variance kept; target 99.9% is not reached"),
        (0.9552, 0.95519, None, "95.51% of the variance kept; target 95.52% is not reached"),
        (1.0, 1.0 - 1e-12, None, "100.00% of the variance kept"),
        (0.07, 0.07, 1, "7.00% of the variance kept; target 7% is reached with 1"),
    ],
)
def test_shares_are_never_rounded_up_to_the_target(
    target: float, cumulative: float, needed: int | None, said: str
) -> None:
    pca = {"kept": 200, "cumulative": cumulative, "variance_target": target, "components_for_target": needed}
    assert said in "\n".join(describe(make_manifest(pca=pca)))


def test_much_to_tell_stays_short_and_narrow() -> None:
    kinds = {f"a kind of files number {number}": number for number in range(60)}
    notes = ["A sentence that goes on and on. " * 20, "Another."]
    said = describe(make_manifest(ignored=1770, ignored_kinds=kinds, notes=notes))
    assert len(said) == MOST_LINES
    assert max(map(len, said)) <= COLUMNS
    assert said[-2:] == ["Results: /out/MINI", "Report:  /reports/local/MINI/run.html"]
    assert any(line.startswith("Note:") for line in said)


def write_batch(store: Path, day: int, rows: int, *, complete: bool = True) -> None:
    batch = store / f"batch-{datetime.date(2024, 1, day):%Y%m%d}T000000000000-0"
    batch.mkdir(parents=True)
    pd.DataFrame({"path": range(rows)}).to_parquet(batch / "part.parquet")
    if complete:
        (batch / "_SUCCESS").touch()


def test_a_stopped_run_says_what_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    began = datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    nothing = "nothing was stored yet: the same command starts it again"
    assert describe_stop(tmp_path, began=began, fresh=False) == nothing
    write_batch(tmp_path / "features/z-older", 1, 5000)
    assert describe_stop(tmp_path, began=began, fresh=False) == nothing
    write_batch(tmp_path / "features/a-newer", 2, 1000)
    write_batch(tmp_path / "features/a-newer", 3, 24)
    write_batch(tmp_path / "features/a-newer", 4, 7, complete=False)
    kept = "features of 1,024 images are kept; the same command"
    assert describe_stop(tmp_path, began=began, fresh=False) == f"{kept} goes on from there"
    assert describe_stop(tmp_path, began=began, fresh=True) == f"{kept} without --fresh goes on from there"
