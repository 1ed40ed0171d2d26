"""The door: so many inside at a time, in the order of arrival, and nobody kept out by one who hangs."""

from __future__ import annotations

import asyncio

import pytest

from bus.door import Anywhere, Door, Place


class Visitor:
    """Goes in, and out when told."""

    def __init__(self, door: Door) -> None:
        self.place = Place(door)
        self.inside, self.over = asyncio.Event(), asyncio.Event()

    async def visit(self) -> bool:
        async with self.place.inside() as let_in:
            if let_in:
                self.inside.set()
                await self.over.wait()
            return let_in


async def test_so_many_are_inside_and_the_next_is_who_came_next() -> None:
    door = Door(2, 60)
    visitors = [Visitor(door) for _ in range(4)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
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
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [group.create_task(visitor.visit()) for visitor in (hanging, second, third)]
        await third.inside.wait()
        assert not tasks[0].done()
        for visitor in (hanging, second, third):
            visitor.over.set()
    first, second = Visitor(door), Visitor(door)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(first.visit())
        group.create_task(second.visit())
        await first.inside.wait()
        assert not second.inside.is_set(), "the place was given back once"
        first.over.set()
        second.over.set()


async def test_who_gives_up_goes_at_once_and_leaves_the_place_to_others() -> None:
    door = Door(1, 60)
    first, second, third = (Visitor(door) for _ in range(3))
    second.place.give_up()  # nobody waits: nothing happens
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(first.visit())
        await first.inside.wait()
        waiting = group.create_task(second.visit())
        group.create_task(third.visit())
        await asyncio.sleep(0)
        second.place.give_up()
        assert not await waiting
        first.place.give_up()  # it is inside
        first.over.set()
        await third.inside.wait()
        third.over.set()


async def test_who_is_cancelled_or_fails_leaves_the_place_to_others() -> None:
    door = Door(1, 60)
    first, second, third, fourth = (Visitor(door) for _ in range(4))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(first.visit())
        await first.inside.wait()
        neither = Visitor(door)
        waiting = [group.create_task(visitor.visit()) for visitor in (second, third, fourth, neither)]
        await asyncio.sleep(0)
        neither.place.give_up()
        waiting[3].cancel()  # in the moment in which it gave up
        waiting[0].cancel()
        await asyncio.sleep(0)
        first.place.leave()
        waiting[1].cancel()  # in the moment in which it was given the place
        await fourth.inside.wait()
        assert not second.inside.is_set()
        assert not third.inside.is_set()
        first.over.set()
        late = Visitor(door)
        group.create_task(late.visit())
        await asyncio.sleep(0)
        assert not late.inside.is_set(), "there is one place"
        fourth.over.set()
        late.over.set()
    place = Place(door)
    with pytest.raises(ValueError, match="inside"):
        async with place.inside():
            raise ValueError("inside")
    async with asyncio.timeout(30), place.inside() as let_in:
        assert let_in


async def test_where_there_is_no_door_nobody_waits() -> None:
    place = Anywhere()
    async with place.inside() as let_in, place.inside() as again:
        place.give_up()
        assert let_in
        assert again
