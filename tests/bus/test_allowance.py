"""Portions of a shared bucket: all processes together never spend more than the bucket gave them."""

from __future__ import annotations

from math import floor

from hypothesis import given
from hypothesis import strategies as st

from bus.allowance import LASTS, SPAN, Ask, Limit, Portion, Spent, Told, whole_seconds


class Bucket:
    """What spend.lua does, in seconds."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.full = limit, 0.0
        self.taken = 0

    def spend(self, needed: int, wanted: int, now: float) -> Told:
        rate, burst = self.limit.rate, self.limit.burst
        full = max(self.full, now)
        there = floor(burst - (full - now) * rate + 1e-6)
        if there < needed:
            return Told(0, full + (needed - burst) / rate - now, full - now, 0.0)
        taken = min(there, wanted)
        self.taken += taken
        self.full = full + taken / rate
        return Told(taken, 0.0, self.full - now, 0.0)


def spend(portion: Portion, bucket: Bucket, amount: int, now: float) -> tuple[Spent, int]:
    """As `Allowances.take` does it, and how often the bucket was asked."""
    asked = 0
    while isinstance(found := portion.take(amount, now), Ask):
        asked += 1
        told = bucket.spend(found.needed, found.wanted, now)
        portion.told(told, now)
        if not told.taken:
            return Spent(told.wait, 0), asked
    return found, asked


def test_the_first_asks_and_the_refusal_says_how_long() -> None:
    limit = Limit(10.0, 5.0)
    bucket, portion = Bucket(limit), Portion(limit)
    for number in range(5):
        assert spend(portion, bucket, 1, 100.0)[0] == Spent(0.0, 4 - number)
    refused, _ = spend(portion, bucket, 1, 100.0)
    assert abs(refused.wait - 0.1) < 1e-6
    assert refused.remaining == 0
    again, asked = spend(portion, bucket, 1, 100.05)
    assert asked == 0
    assert abs(again.wait - 0.05) < 1e-6
    assert spend(portion, bucket, 1, 100.1)[0].wait == 0


def test_who_spends_much_asks_seldom() -> None:
    limit = Limit(10_000.0, 10_000.0)
    bucket, portion = Bucket(limit), Portion(limit)
    asked = sum(spend(portion, bucket, 1, 100.0 + number / 5_000)[1] for number in range(5_000))
    assert asked < 25
    assert bucket.taken - 5_000 <= limit.rate * SPAN


def test_who_spends_little_holds_little() -> None:
    limit = Limit(10_000.0, 10_000.0)
    bucket, portion = Bucket(limit), Portion(limit)
    for number in range(50):
        assert spend(portion, bucket, 1, 100.0 + number * 2)[0].wait == 0
    assert bucket.taken == 50


def test_what_is_left_of_a_portion_is_nobodys_after_a_while() -> None:
    limit = Limit(100.0, 1_000.0)
    bucket, portion = Bucket(limit), Portion(limit)
    for _ in range(20):
        spend(portion, bucket, 1, 100.0)
    held = bucket.taken - 20
    assert held > 0
    assert spend(portion, bucket, 1, 100.0 + LASTS)[1] == 1
    assert bucket.taken <= 20 + held + 1 + limit.rate * SPAN


def test_more_than_is_here_takes_what_is_here_too() -> None:
    limit = Limit(100.0, 1_000.0)
    bucket, portion = Bucket(limit), Portion(limit)
    for _ in range(4):
        spend(portion, bucket, 1, 100.0)
    before = bucket.taken
    assert spend(portion, bucket, 500, 100.0)[0].wait == 0
    assert bucket.taken - before < 500 + limit.rate * SPAN


def test_seconds_for_a_header() -> None:
    assert [whole_seconds(wait) for wait in (0.0, 0.2, 1.0, 1.01)] == [0, 1, 1, 2]


@given(
    rate=st.floats(1.0, 5_000.0),
    burst=st.integers(20, 2_000),
    nodes=st.integers(1, 5),
    asks=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 20), st.floats(0.0, 0.2)), max_size=200),
)
def test_all_together_stay_within_rate_burst_and_a_portion_each(
    rate: float, burst: int, nodes: int, asks: list[tuple[int, int, float]]
) -> None:
    limit = Limit(rate, float(burst))
    bucket, portions = Bucket(limit), [Portion(limit) for _ in range(nodes)]
    now, spent = 1_000.0, []
    for node, amount, pause in asks:
        now += pause
        found, _ = spend(portions[node % nodes], bucket, amount, now)
        if found.wait == 0:
            spent.append((now, amount))
        else:
            assert found.wait <= (amount + burst) / rate + 1e-6
    for first in range(0, len(spent), 7):
        total = 0
        for at, amount in spent[first:]:
            total += amount
            seconds = at - spent[first][0]
            assert total <= burst + rate * seconds + nodes * (rate * SPAN) + 1


@given(rate=st.floats(1.0, 1_000.0), burst=st.integers(5, 50), amount=st.integers(1, 5))
def test_who_waited_as_long_as_told_is_served(rate: float, burst: int, amount: int) -> None:
    limit = Limit(rate, float(burst))
    bucket, portion = Bucket(limit), Portion(limit)
    now = 50.0
    for _ in range(300):
        found, _ = spend(portion, bucket, amount, now)
        if found.wait > 0:
            assert spend(portion, bucket, amount, now + found.wait + 1e-6)[0].wait == 0
            return
