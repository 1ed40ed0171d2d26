"""The window: no more than its size, in the order asked, and in handfuls when it was full."""

from __future__ import annotations

import asyncio

from bus.window import Window


async def test_places_are_taken_as_far_as_there_are_any() -> None:
    window = Window(4)
    async with asyncio.timeout(30):
        assert await window.reserve(3) == 3
        assert await window.reserve(3) == 1
    assert window.taken == 4
    window.release(2)
    assert window.taken == 2


async def test_a_full_window_opens_again_in_handfuls() -> None:
    window = Window(32)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        await window.reserve(32)
        waiting = group.create_task(window.reserve(8))
        await asyncio.sleep(0)
        window.release(1)
        await asyncio.sleep(0)
        assert not waiting.done()
        window.release(1)
        assert await waiting == 2


async def test_who_wants_all_gets_its_turn_before_those_who_came_later() -> None:
    window = Window(3)
    order: list[str] = []

    async def all_of_it() -> None:
        order.append(f"all {await window.reserve_all()}")
        window.release(3)

    async def one() -> None:
        order.append(f"one {await window.reserve(1)}")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        await window.reserve(2)
        group.create_task(all_of_it())
        await asyncio.sleep(0)
        group.create_task(one())
        await asyncio.sleep(0)
        assert order == []
        window.release(2)
    assert order == ["all 3", "one 1"]


async def test_who_gives_up_waiting_takes_nothing() -> None:
    window = Window(1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        await window.reserve(1)
        waiting = group.create_task(window.reserve(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        window.release(1)
        assert await window.reserve(1) == 1
