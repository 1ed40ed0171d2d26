"""Rates and counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import LONGEST_SPREAD, Herd, Rate, Room, Tally


def test_a_burst_uses_up_the_window_and_time_gives_it_back() -> None:
    rate, debt = Rate(per_second=10, window=2.0), 0.0
    for _ in range(20):
        found = rate.spend(debt, 100.0)
        assert found is not None
        debt = found
    assert rate.spend(debt, 100.0) is None
    assert rate.spend(debt, 100.05) is None
    assert rate.spend(debt, 100.11) is not None
    assert rate.spend(debt, 102.0, cost=20) is not None
    assert rate.spend(debt, 102.0, cost=21) is None


@given(
    st.integers(1, 50),
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), max_size=60),
)
def test_never_more_than_the_rate_allows(per_second: int, window: int, spends: list[tuple[float, int]]) -> None:
    rate, debt, now, granted = Rate(per_second, window), 0.0, 1_000.0, []
    for wait, cost in spends:
        now += wait
        if (after := rate.spend(debt, now, cost)) is not None:
            debt = after
            granted.append((now, cost))
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            spent = sum(cost for _, cost in granted[first : last + 1])
            seconds = granted[last][0] - granted[first][0]
            assert spent <= per_second * (seconds + window) + 1e-6


def test_a_tally_stops_at_its_limit_and_forgets_zero() -> None:
    tally = Tally(2)
    assert tally.has_room("a")
    tally.take("a")
    assert tally.has_room("a")
    tally.take("a")
    assert not tally.has_room("a")
    tally.take("a")
    tally.take("b")
    assert len(tally) == 2
    assert (tally.count("a"), tally.count("c")) == (3, 0)
    assert dict(tally.counts()) == {"a": 3, "b": 1}
    tally.release("a")
    assert not tally.has_room("a")
    tally.release("a")
    assert tally.has_room("a")
    tally.release("a")
    tally.release("a")
    tally.release("b")
    assert len(tally) == 0


def test_no_limit_counts_nothing() -> None:
    tally = Tally(0)
    for _ in range(100):
        tally.take("a")
    assert tally.has_room("a")
    assert len(tally) == 0
    tally.release("a")


def test_room_is_for_so_many_of_so_many_bytes() -> None:
    room = Room(2, 100)
    assert room.take(500)
    assert not room.take(1)
    room.release(500)
    assert room.take(60)
    assert not room.take(60)
    assert room.take(40)
    assert not room.take(0)
    room.release(60)
    assert room.take(10)
    assert (room.things, room.bytes) == (2, 50)


def test_a_herd_is_let_in_at_the_rate_and_spread() -> None:
    herd, now = Herd(100), 1_000.0
    assert sum(herd.admit(now) for _ in range(1_000)) == 100
    assert {herd.again(chance) for chance in (0.0, 0.5, 0.999)} == {1, 6, 10}
    assert herd.again(0.9) <= LONGEST_SPREAD + 1
    for _ in range(100_000):
        herd.admit(now)
    assert herd.again(1.0) == LONGEST_SPREAD + 1
    assert sum(herd.admit(now + 0.5) for _ in range(100)) == 50
    assert sum(herd.admit(now + LONGEST_SPREAD + 1) for _ in range(102)) == 100
    assert herd.again(1.0) == 2


def test_no_limit_lets_everybody_in() -> None:
    herd = Herd(0)
    assert all(herd.admit(0.0) for _ in range(10_000))
    assert herd.again(1.0) == 2
