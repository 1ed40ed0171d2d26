"""Calls that take too long are ended, whoever they are for; all others never notice."""

from __future__ import annotations

import asyncio

import pytest

from fanout.deliver.deadlines import Deadlines


async def give(value: str, turns: int = 0) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_what_is_in_time_is_given_back() -> None:
    deadlines = Deadlines(60)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tasks = [group.create_task(deadlines.within(give(str(n), n))) for n in range(5)]
    assert [task.result() for task in tasks] == list("01234")


async def test_what_takes_too_long_is_ended_and_the_rest_goes_on() -> None:
    deadlines, gate = Deadlines(0.02), asyncio.Event()
    ended: list[str] = []

    async def hang() -> None:
        try:
            await gate.wait()
        finally:
            ended.append("hung")

    async def keep_busy() -> str:
        while not ended:  # calls of its own come and go
            await deadlines.within(give("", 1))
        return await deadlines.within(give("done"))

    async def hung() -> bool:
        with pytest.raises(TimeoutError):
            await deadlines.within(hang())
        return True

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        late, busy = [group.create_task(hung()) for _ in range(3)], group.create_task(keep_busy())
    assert all(task.result() for task in late)
    assert (busy.result(), ended) == ("done", ["hung"] * 3)


async def test_who_is_cancelled_by_another_is_cancelled() -> None:
    deadlines = Deadlines(60)
    async with asyncio.timeout(10):
        task = asyncio.get_running_loop().create_task(deadlines.within(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_error_passes() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Deadlines(60).within(fail())


async def test_it_looks_again_after_it_was_idle() -> None:
    deadlines = Deadlines(0.01)
    async with asyncio.timeout(10):
        assert await deadlines.within(give("a")) == "a"
        await asyncio.sleep(0.02)  # until its timer has gone off with nothing to look at
        with pytest.raises(TimeoutError):
            await deadlines.within(asyncio.Event().wait())
