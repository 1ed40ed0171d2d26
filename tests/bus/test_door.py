"""The door: so many inside at a time, in the order of arrival, and nobody kept out by one who hangs."""

from __future__ import annotations

import asyncio

import pytest

from bus.door import Door


class Visitor:
    """Goes in, and out when told."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.inside, self.over = asyncio.Event(), asyncio.Event()

    async def visit(self) -> None:
        async with self._door.inside():
            self.inside.set()
            await self.over.wait()


async def test_so_many_are_inside_and_the_next_is_who_came_next() -> None:
    door = Door(2, 60)
    visitors = [Visitor(door) for _ in range(4)]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for visitor in visitors:
            group.create_task(visitor.visit())
        await visitors[1].inside.wait()
        assert [visitor.inside.is_set() for visitor in visitors] == [True, True, False, False]
        visitors[1].over.set()
        await visitors[2].inside.wait()
        assert not visitors[3].inside.is_set()
        for visitor in visitors:
            visitor.over.set()


async def test_who_is_inside_for_too_long_keeps_nobody_out_and_gives_its_place_once() -> None:
    door = Door(1, 0.1)
    hanging, second, third = (Visitor(door) for _ in range(3))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tasks = [group.create_task(visitor.visit()) for visitor in (hanging, second, third)]
        await third.inside.wait()
        assert not tasks[0].done()
        for visitor in (hanging, second, third):
            visitor.over.set()
    first, second = Visitor(door), Visitor(door)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(first.visit())
        group.create_task(second.visit())
        await first.inside.wait()
        assert not second.inside.is_set(), "the place was given back once"
        first.over.set()
        second.over.set()


async def test_who_gives_up_waiting_or_fails_inside_leaves_the_place_to_others() -> None:
    door = Door(1, 60)
    first, second, third = (Visitor(door) for _ in range(3))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(first.visit())
        await first.inside.wait()
        waiting = group.create_task(second.visit())
        group.create_task(third.visit())
        await asyncio.sleep(0)
        waiting.cancel()
        first.over.set()
        await third.inside.wait()
        third.over.set()
    with pytest.raises(ValueError, match="inside"):
        async with door.inside():
            raise ValueError("inside")
    async with asyncio.timeout(10), door.inside():
        pass
