"""The herd comes back whole: a small one, on a real system."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.bench import __main__ as bench
from loadtest.bench import herd
from loadtest.bench.herd import Herded, Size, measure
from loadtest.bench.measures import MEASURES
from loadtest.bench.process import Failed
from loadtest.bench.report import figures
from loadtest.bench.stays import EVERY, noted, waits


def test_a_small_herd_is_back_with_all_that_it_missed(tmp_path: Path) -> None:
    readings = measure(tmp_path, Size(60))
    assert readings["herd_seconds"] < 30
    assert readings["herd_commands"] < 40
    assert readings["herd_away"] == 0
    assert 0 < readings["herd_p99"] < 30_000
    assert readings.keys() <= {figure.name for figure in figures(())}


def test_it_is_one_of_the_measures_on_a_server_of_its_own() -> None:
    assert "herd" in MEASURES
    assert bench._kinds("herd", with_nchan=True) == [Herded]


def test_one_that_does_not_come_back_in_time_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herd, "PATIENCE", 0.01)
    with pytest.raises(Failed, match="not everybody"):
        measure(tmp_path, Size(20))


def test_who_stays_notes_whole_lines_and_counts_those_who_asked_meanwhile(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert noted(notes) == []
    notes.write_text("1.0 0.5\n2.0 0.25\n3.0 0.125\n4.0 0.")
    assert noted(notes) == [(1.0, 0.5), (2.0, 0.25), (3.0, 0.125)]
    assert waits(noted(notes), 2.0 + EVERY, 2.5) == [0.25]
    assert waits(noted(notes), 1.5, 3.0) == [0.25, 0.125]
