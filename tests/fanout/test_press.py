"""What is asked for in one turn is done together, in order, and no turn takes too much of it."""

from __future__ import annotations

import asyncio

from fanout.channels import press as module
from fanout.channels.press import Press


async def test_what_is_asked_for_together_is_done_together() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return number * number

    press = Press(work)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(press.do(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert done == []
        await asyncio.sleep(0)
        assert done == [0, 1, 2, 3, 4]
    assert [task.result() for task in tasks] == [0, 1, 4, 9, 16]
    assert await press.do(7) == 49


async def test_one_turn_does_not_do_more_than_it_may() -> None:
    done: list[int] = []
    press = Press(done.append)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(module.MOST + 1):
            group.create_task(press.do(number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(done) == module.MOST
    assert len(done) == module.MOST + 1


async def test_for_who_gave_up_nothing_is_done() -> None:
    done: list[int] = []
    press = Press(done.append)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        given_up = group.create_task(press.do(1))
        group.create_task(press.do(2))
        await asyncio.sleep(0)
        given_up.cancel()
    assert done == [2]
