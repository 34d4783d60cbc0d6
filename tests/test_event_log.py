"""The event log in a report: from the folder of a cluster, of a Spark that still ends, and where there is none."""

import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from test_eventlog import EVENTS, ID, SUMMARY, write_log

from fruits_cli import event_log


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    folder.mkdir()
    return folder


def collect(draft: Path, place: str | None) -> tuple[dict[str, object], list[str]]:
    """Return the manifest with it, and what is said."""
    said: list[str] = []
    told = {"application": ID, "event_log_dir": place}
    return {"mode": "MINI"} | event_log.collect_log(draft / "spark", told, say=said.append), said


def test_the_log_of_a_cluster_is_brought_along(draft: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "its logs, 100% é" / f"{ID}_1.zstd", EVENTS)

    manifest, said = collect(draft, log.parent.as_uri())

    assert (manifest, said) == ({"mode": "MINI", "spark": SUMMARY}, [])
    names = {f"{ID}.zstd", "stages.csv", "executors.csv", "spark.png"}
    assert {file.name for file in (draft / "spark").iterdir()} == names
    assert pd.read_csv(draft / "spark/stages.csv")["shuffle_write_bytes"].tolist() == [600, 0]
    assert pd.read_csv(draft / "spark/executors.csv")["cores"].tolist() == [4, 2, 1]
    with Image.open(draft / "spark/spark.png") as picture:
        assert picture.size == (720, 990)
    assert log.exists()


def test_a_spark_that_still_ends_is_waited_for(draft: Path) -> None:
    log = write_log(draft / "spark" / f"{ID}.zstd.inprogress", EVENTS[:9])
    (log.parent / f".{ID}.zstd.inprogress.crc").touch()

    def end() -> None:
        time.sleep(0.5)
        write_log(log, EVENTS)
        log.rename(log.with_suffix(""))

    ending = threading.Thread(target=end)
    ending.start()
    manifest, said = collect(draft, log.parent.as_uri())
    ending.join()

    assert (manifest["spark"], said) == (SUMMARY, [])
    assert len(list((draft / "spark").iterdir())) == 4


def test_a_log_that_is_never_finished_is_kept_as_far_as_it_goes(draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "_PATIENCE", 0.2)
    log = write_log(draft / "spark" / f"{ID}.zstd.inprogress", EVENTS[:-1])

    manifest, said = collect(draft, log.parent.as_uri())

    assert (manifest["spark"], said) == (SUMMARY | {"seconds": 11.0}, [])
    assert len(list((draft / "spark").iterdir())) == 4


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (None, "this session kept none."),
        ("hdfs:///var/log/spark/apps", "hdfs:///var/log/spark/apps is no folder on this machine"),
        ("file:///nowhere", f"/nowhere holds none of {ID}."),
    ],
)
def test_a_report_without_a_log_says_why(
    draft: Path, monkeypatch: pytest.MonkeyPatch, place: str | None, why: str
) -> None:
    monkeypatch.setattr(event_log, "_PATIENCE", 0.2)
    (draft / "spark").mkdir()
    manifest, (said,) = collect(draft, place)
    assert manifest == {"mode": "MINI"}
    assert said.startswith(f"the report has no event log of Spark: {why}")
    assert not (draft / "spark").exists()


def test_a_broken_log_does_not_fail_a_run(draft: Path) -> None:
    log = write_log(draft / "spark" / f"{ID}.zstd", [{"Event": "SparkListenerTaskEnd"}])
    manifest, (said,) = collect(draft, log.parent.as_uri())
    assert (manifest, said.split(":")[0]) == ({"mode": "MINI"}, "the report has no event log of Spark")
    assert not (draft / "spark").exists()
