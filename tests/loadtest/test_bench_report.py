"""loadtest.bench.report: medians, ratios, targets and the table."""

from __future__ import annotations

import pytest

from loadtest.bench.report import Figure, Target, figures, results, table

COST = Figure("cost", "cost", "µs", Target(ratio_at_most=0.8))
RATE = Figure("rate", "rate", "1/s", Target(at_least=1_000))
BLOCKED = Figure("blocked", "blocked", "ms", Target(at_most=15, worst=True))
BYTES = Figure("bytes", "bytes", "B")


@pytest.mark.parametrize(("ours", "held"), [(8.0, True), (8.1, False)])
def test_a_ratio_is_held_against_the_other_median(ours: float, held: bool) -> None:
    (row,) = results({"cost": [99, ours, 1]}, {"cost": [10, 1, 99]}, [COST])
    assert (row["ours"], row["nchan"], row["held"]) == (ours, 10, held)


def test_a_ratio_without_the_other_is_neither_held_nor_broken() -> None:
    (row,) = results({"cost": [5]}, {}, [COST])
    assert (row["ratio"], row["held"]) == (None, None)


@pytest.mark.parametrize(("ours", "held"), [(1_000, True), (999, False)])
def test_a_lower_bound(ours: float, held: bool) -> None:
    (row,) = results({"rate": [ours]}, {}, [RATE])
    assert row["held"] is held


def test_never_means_the_worst_run() -> None:
    (row,) = results({"blocked": [1, 2, 16]}, {}, [BLOCKED])
    assert (row["ours"], row["held"]) == (16, False)


def test_a_figure_without_target_and_one_without_reading() -> None:
    rows = results({"bytes": [128]}, {}, [BYTES, RATE])
    assert [(row["name"], row["target"], row["held"]) for row in rows] == [("bytes", None, None)]


def test_the_table_is_aligned_and_says_yes_or_no() -> None:
    ours: dict[str, list[float]] = {"cost": [5.25], "rate": [10], "bytes": [12345]}
    lines = table(results(ours, {"cost": [10]}, [COST, RATE, BYTES], {"bytes": [6_000]})).splitlines()
    assert lines[2].split() == ["cost", "(µs)", "5.25", "10", "0.53", "–", "≤", "0.8", "×", "nchan", "yes"]
    assert lines[3].split() == ["rate", "(1/s)", "10", "–", "–", "–", "≥", "1,000", "NO"]
    assert lines[4].split() == ["bytes", "(B)", "12,345", "–", "–", "6,000"]


def test_every_figure_has_a_name_of_its_own_and_the_stated_targets() -> None:
    found = {figure.name: figure.target for figure in figures([2_000, 10_000])}
    assert len(found) == len(figures([2_000, 10_000]))
    assert str(found["burst_2000_rate"]) == "≥ 2,000,000"
    assert str(found["burst_10000_rate"]) == "≥ 1,500,000"
    assert str(found["blocked_10000_ms"]) == "≤ 15"
    assert str(found["memory_rss"]) == "≤ 3,072"
    assert next(f for f in figures([500]) if f.name == "burst_500_rate").target is None
