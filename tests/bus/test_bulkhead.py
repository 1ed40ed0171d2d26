"""One bug, one failure: what is caught, what passes, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest

from bus.bulkhead import Bug, contained, whereabouts
from bus.errors import BusDown

SECRET = "alice@example.com"


async def test_what_the_work_gives_is_given() -> None:
    assert await contained(asyncio.sleep(0, 5)) == 5


async def test_a_bug_becomes_a_value_that_says_where_and_quotes_nothing() -> None:
    async def stumble() -> None:
        raise ValueError(SECRET)

    found = await contained(stumble())
    assert isinstance(found, Bug)
    assert found.where.startswith("ValueError in ")
    assert "stumble" in found.where
    assert SECRET not in found.where


async def test_what_redis_does_is_no_bug() -> None:
    async def ask() -> None:
        raise BusDown("gone")

    with pytest.raises(BusDown):
        await contained(ask())


async def test_a_cancellation_passes() -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(contained(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


def test_an_error_that_was_never_raised_has_a_kind_alone() -> None:
    assert whereabouts(ValueError(SECRET)) == "ValueError"
