"""What the machine gives; what is refused is in test_preflight.py, where a run asks for it."""

import os
from pathlib import Path

import pytest

from fruits import machine


@pytest.mark.parametrize(("limit", "seen"), [("max", 3 * 2**30), (str(2**30), 2**30), (str(2**63), 3 * 2**30)])
def test_memory_is_what_is_available_and_no_more_than_a_container_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, seen: int
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9999999 kB\nMemAvailable:    3145728 kB\n")
    (tmp_path / "limit").write_text(f"{limit}\n")
    monkeypatch.setattr(machine, "_FREE", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_LIMITS", (tmp_path / "none", tmp_path / "limit"))
    assert machine.measure_memory() == seen
    monkeypatch.setattr(machine, "_FREE", tmp_path / "none")
    assert machine.measure_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
