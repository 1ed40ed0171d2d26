"""Pressure: refused above the limit, taken again only when there is clearly room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.pressure import LOW, Pressure, waiting


def test_memory_is_refused_above_and_taken_again_well_below() -> None:
    pressure = Pressure(memory=0.8)
    assert not pressure.weigh(None)
    assert not pressure.weigh(0.79)
    assert pressure.weigh(0.8)
    assert pressure.refuses(3)
    assert not pressure.weigh(0.75)
    assert pressure.refuses(3)
    assert pressure.weigh(0.71)
    assert not pressure.refuses(3)


def test_a_partition_is_refused_by_itself() -> None:
    pressure = Pressure(backlog=100)
    assert not pressure.count(1, 99)
    assert pressure.count(1, 100)
    assert pressure.refuses(1)
    assert not pressure.refuses(2)
    assert not pressure.count(1, 91)
    assert pressure.refuses(1)
    assert pressure.count(1, 89)
    assert not pressure.refuses(1)


@given(st.lists(st.floats(0.0, 1.2), max_size=100))
def test_it_changes_only_beyond_its_limits(shares: list[float]) -> None:
    pressure = Pressure(memory=0.9)
    for share in shares:
        before = pressure.full
        if pressure.weigh(share):
            assert share >= 0.9 if pressure.full else share < 0.9 * LOW
        else:
            assert pressure.full is before


def test_how_much_waits_is_estimated_by_time() -> None:
    assert waiting(0, 0, 0, 0) == 0
    assert waiting(100, 1_000, 2_000, 2_000) == 0
    assert waiting(100, 1_000, 0, 2_000) == 100
    assert waiting(100, 1_000, 1_750, 2_000) == 25
