"""The pace: steps in order, a little in each turn of the loop, and none costs another."""

from __future__ import annotations

import asyncio

import pytest

from gateway.pace import Pace
from tests.gateway.turns import SlowClock, until


class Slow(SlowClock):
    """A clock that only moves when a step is done, and what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[object] = []

    def step(self, name: object) -> None:
        self.now += 0.002
        self.done.append(name)


async def test_a_few_are_done_at_once_and_the_rest_turn_by_turn_in_order() -> None:
    slow = Slow()
    pace = Pace(slow)
    for number in range(30):
        pace.enter(slow.step, number)
    assert slow.done == [0, 1, 2]
    assert not pace.free
    assert len(pace) == 27
    assert await until(lambda: not len(pace)) >= 9
    assert slow.done == list(range(30))
    await until(lambda: pace.free)


async def test_a_step_that_brings_others_does_not_do_them_itself() -> None:
    slow = Slow()
    pace = Pace(slow)

    def brings() -> None:
        pace.enter(slow.step, "brought")
        assert slow.done == []

    pace.enter(brings)
    assert slow.done == []
    await until(lambda: slow.done == ["brought"])


async def test_those_who_are_many_take_turns_with_who_comes_meanwhile() -> None:
    slow = Slow()
    pace = Pace(slow)
    pace.each(range(100), slow.step)
    assert slow.done == []
    await asyncio.sleep(0)
    pace.enter(slow.step, "other")
    await until(lambda: not len(pace))
    assert slow.done.index("other") < 8
    assert [one for one in slow.done if one != "other"] == list(range(100))


async def test_a_fault_is_the_callers_only_when_done_at_once_and_costs_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = Slow()
    pace = Pace(slow)

    def fail(number: int) -> None:
        slow.step(number)
        if number % 2:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        pace.enter(fail, 1)
    pace.each(range(2, 8), fail)
    pace.later(fail, 9)
    pace.later(slow.step, "last")
    await until(lambda: not len(pace))
    assert sorted(map(str, slow.done)) == sorted(["1", *map(str, range(2, 8)), "9", "last"])
