"""Whose results a folder holds."""

from pathlib import Path

import pytest

from fruits import marker
from fruits.errors import UsageError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").touch()
    marker.write_marker(tmp_path, owner={"target": "local", "input_dir": "/somewhere"})
    return tmp_path


@pytest.mark.parametrize(("target", "folder"), [("emr", "/somewhere"), ("local", "/elsewhere")])
def test_results_of_others_are_not_overwritten(saved: Path, target: str, folder: str) -> None:
    with pytest.raises(UsageError, match=r"holds results of target local, input /somewhere.*--replace"):
        marker.check_owner(saved, target=target, input_dir=Path(folder), replace=False)
    marker.check_owner(saved, target=target, input_dir=Path(folder), replace=True)


def test_own_results_and_no_results_may_be_written(saved: Path, tmp_path: Path) -> None:
    marker.check_owner(saved, target="local", input_dir=Path("/somewhere"), replace=False)
    marker.check_owner(tmp_path / "none", target="local", input_dir=Path("/x"), replace=False)


def test_a_folder_of_unknown_origin_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(UsageError, match="an unknown run"):
        marker.check_owner(tmp_path, target="local", input_dir=Path("/x"), replace=False)
