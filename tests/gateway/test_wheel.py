"""The timing wheel: everyone once a round, spread, and found again a few steps later."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wheel import Wheel


def test_it_needs_a_slot() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Wheel(0)


def test_everyone_once_a_round() -> None:
    wheel: Wheel[int] = Wheel(25)
    for number in range(100):
        wheel.add(number)
    assert len(wheel) == 100
    for _ in range(3):
        assert Counter(item for _ in range(25) for item in wheel.advance()) == Counter(range(100))


def test_newcomers_are_spread_over_the_second_half() -> None:
    wheel: Wheel[int] = Wheel(10)
    for number in range(50):
        wheel.add(number)
    assert [len(wheel.advance()) for _ in range(10)] == [0, 0, 0, 0, 0, 10, 10, 10, 10, 10]


def test_one_slot_is_a_plain_timer() -> None:
    wheel: Wheel[str] = Wheel(1)
    wheel.add("a")
    assert wheel.advance() == ("a",)
    assert wheel.behind(0) == ("a",)


def test_the_second_look_finds_those_of_some_steps_ago() -> None:
    wheel: Wheel[str] = Wheel(4)
    slot = wheel.add("a")
    while "a" not in wheel.advance():
        pass
    assert "a" in wheel.behind(0)
    wheel.advance()
    assert "a" in wheel.behind(1)
    wheel.advance()
    assert "a" in wheel.behind(2)
    wheel.remove("a", slot)
    assert wheel.behind(2) == ()


def test_an_item_may_go_while_its_slot_is_worked() -> None:
    wheel: Wheel[int] = Wheel(1)
    slots = {number: wheel.add(number) for number in range(5)}
    for number in wheel.advance():
        wheel.remove(number, slots[number])
        wheel.remove(number, slots[number])
    assert len(wheel) == 0


@given(st.integers(1, 20), st.lists(st.one_of(st.just("step"), st.integers(0, 9))))
def test_what_is_in_comes_up_within_one_round(slots: int, steps: list[str | int]) -> None:
    wheel: Wheel[int] = Wheel(slots)
    inside: dict[int, int] = {}
    for step in steps:
        if isinstance(step, str):
            wheel.advance()
        elif step in inside:
            wheel.remove(step, inside.pop(step))
        else:
            inside[step] = wheel.add(step)
    assert sorted(item for _ in range(slots) for item in wheel.advance()) == sorted(inside)


def test_all_of_them() -> None:
    wheel: Wheel[int] = Wheel(3)
    for number in range(7):
        wheel.add(number)
    assert sorted(wheel.items()) == list(range(7))
