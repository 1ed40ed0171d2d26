"""The herd comes back whole: a small one, on a real system."""

from __future__ import annotations

from pathlib import Path

from loadtest.bench.herd import Size, measure


def test_a_small_herd_is_back_with_all_that_it_missed(tmp_path: Path) -> None:
    readings = measure(tmp_path, Size(60))
    assert readings["herd_seconds"] < 30
    assert readings["herd_commands"] < 40
    assert readings["herd_away"] == 0
