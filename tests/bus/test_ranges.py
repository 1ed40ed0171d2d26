"""Ranges against plain sets of numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.cursor import MAX_OFFSET
from bus.ranges import MOST, NOTHING, Ranges, covers, merge, parse, pieces, size, text, without

pairs = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=60)


def offsets(ranges: Ranges | list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(pairs, pairs)
def test_merging_is_the_union(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    merged = merge(one, two, most=1_000)
    assert offsets(merged) == offsets(one) | offsets(two)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(merged))


@given(pairs, pairs)
def test_too_many_lose_the_lowest(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    whole, bounded = merge(one, two, most=1_000), merge(one, two, most=3)
    assert bounded == whole[-3:]
    assert len(merge(one, two)) <= MOST


@given(pairs, pairs, st.integers(0, 220))
def test_difference_and_membership(one: list[tuple[int, int]], two: list[tuple[int, int]], offset: int) -> None:
    left, right = merge(one, (), most=1_000), merge(two, (), most=1_000)
    assert offsets(without(left, right)) == offsets(left) - offsets(right)
    assert covers(left, offset) == (offset in offsets(left))
    assert size(left) == len(offsets(left))


@given(pairs, st.integers(1, 20))
def test_pieces(one: list[tuple[int, int]], most: int) -> None:
    ranges = merge(one, (), most=1_000)
    cut = list(pieces(ranges, most))
    assert merge((), (each for piece in cut for each in piece), most=1_000) == ranges
    assert all(0 < size(piece) <= most for piece in cut)
    assert all(size(piece) == most for piece in cut[:-1])


@given(pairs)
def test_text_and_back(one: list[tuple[int, int]]) -> None:
    ranges = merge(one, ())
    assert parse(text(ranges).encode()) == ranges


def test_as_it_is_stored() -> None:
    assert text(((1, 3), (5, 5))) == "1-3,5-5"
    assert parse(b"1-3,5-5") == ((1, 3), (5, 5))
    assert parse(None) == parse(b"") == NOTHING


@pytest.mark.parametrize("part", ["x", "5", "-5", "5-", "5-4", "0-4", f"1-{MAX_OFFSET + 1}", "1-1" + 17 * "0"])
def test_a_part_that_is_none_counts_as_nothing(part: str) -> None:
    assert parse(f"7-8,{part},10-11".encode()) == ((7, 8), (10, 11))
