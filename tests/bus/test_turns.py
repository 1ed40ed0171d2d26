"""Turns: who has the fewest places goes first, and nobody is forgotten."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bus.turns import MOST, Turns


def test_the_one_with_fewer_places_goes_first_then_the_one_that_waited_longer() -> None:
    turns = Turns()
    assert turns.choose([]) is None
    assert turns.choose([{}]) is None
    assert turns.choose([{"a": 5}]) == (0, "a", False)
    turns.begin("a", 3)
    assert turns.choose([{"a": 5}, {"a": 1, "b": 1}, {"b": 2}]) == (1, "b", True)
    turns.begin("b", 3)
    assert turns.choose([{"b": 1, "a": 1}]) == (0, "a", True)
    turns.end("b", 1)
    assert turns.choose([{"b": 1, "a": 1}]) == (0, "b", True)
    assert turns.held("b") == 2


def test_places_may_turn_out_to_be_anothers() -> None:
    turns = Turns()
    turns.begin("", 4)
    turns.move("", "a", 1)
    turns.move("", "", 1)
    turns.move("", "a", 0)
    assert (turns.held(""), turns.held("a")) == (3, 1)
    turns.end("a", 1)
    turns.end("", 3)
    assert (turns.held(""), turns.held("a")) == (0, 0)


def test_only_so_many_are_remembered() -> None:
    turns = Turns()
    for number in range(2 * MOST + 10):
        turns.begin(str(number), 1)
        turns.end(str(number), 1)
    assert len(turns._last) <= MOST


@given(
    waiting=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 200), min_size=1),
    size=st.integers(1, 16),
    ends=st.lists(st.integers(0, 15), max_size=400),
)
def test_among_those_who_wait_none_has_two_more_than_another(
    waiting: dict[str, int], size: int, ends: list[int]
) -> None:
    turns, held, running = Turns(), Counter[str](), list[str]()
    for end in ends:
        while len(running) < size and (found := turns.choose([waiting])) is not None:
            _, source, _ = found
            turns.begin(source, 1)
            running.append(source)
            held[source] += 1
            least = min(held[one] for one in waiting)
            assert held[source] <= least + 1
            waiting[source] -= 1
            if not waiting[source]:
                del waiting[source]
        if not running:
            return
        gone = running.pop(end % len(running))
        held[gone] -= 1
        turns.end(gone, 1)
