"""Dead letters across partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bus.connect import client
from bus.dead import Graveyard, parse_name
from bus.errors import BusDown, Refused
from bus.keys import Keys
from tocsin.embedded import EmbeddedRedis


@pytest_asyncio.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    redis = client(redis_server.url, name="test")
    yield redis
    await redis.aclose()


async def bury(redis: Redis, keys: Keys, partition: int, number: int) -> str:
    fields: dict[Any, Any] = {"queue": "events", "entry": f"{number}-0", "reason": f"reason {number}", "attempts": 1}
    await redis.xadd(keys.dead(partition), fields | {"e": f"event {number}"}, id=f"{number}-0")
    return f"{partition}/{number}-0"


async def test_letters_of_all_partitions_are_listed_newest_first(redis: Redis, keys: Keys) -> None:
    async with asyncio.timeout(10):
        graves = Graveyard(redis, keys)
        assert (await graves.count(), await graves.ls()) == (0, [])
        for number in range(1, 8):
            await bury(redis, keys, number % 3, number)
        assert await graves.count() == 7
        assert [letter.entry for letter in await graves.ls(3)] == ["7-0", "6-0", "5-0"]
        letter = (await graves.ls())[0]
        assert (letter.name, letter.queue, letter.reason, letter.attempts) == ("1/7-0", "events", "reason 7", 1)
        assert (letter.buried_at, letter.fields) == (0.007, {b"e": b"event 7"})


async def test_one_letter_is_shown_dropped_or_sent_again(redis: Redis, keys: Keys) -> None:
    async with asyncio.timeout(10):
        graves = Graveyard(redis, keys)
        first, second = await bury(redis, keys, 1, 1), await bury(redis, keys, 1, 2)
        letter = await graves.get(first)
        assert letter is not None
        assert letter.reason == "reason 1"
        assert [await graves.drop(first), await graves.drop(first)] == [True, False]
        assert await graves.get(first) is None
        entry = await graves.replay(second)
        sent = {b"e": b"event 2", b"i": b"2-0"}
        assert await redis.xrange(keys.events(1)) == [(entry.encode() if entry else b"", sent)]
        assert await graves.replay(second) is None
        assert await graves.count() == 0


@pytest.mark.parametrize("name", ["", "1", "x/1-0", "1/x", "99/1-0", "1/1-x", "-1/1-0", "1/١-0", "1/" + "9" * 21])
async def test_a_name_that_is_none_names_nothing(redis: Redis, keys: Keys, name: str) -> None:
    async with asyncio.timeout(10):
        graves = Graveyard(redis, keys)
        assert (await graves.get(name), await graves.drop(name), await graves.replay(name)) == (None, False, None)


def test_names_are_read_back(keys: Keys) -> None:
    assert parse_name("3/12-4", keys) == (3, "12-4")
    assert parse_name("3/12", keys) == (3, "12-0")


async def test_what_redis_says_is_an_error_of_the_bus(redis: Redis, keys: Keys) -> None:
    async with asyncio.timeout(10):
        await redis.set(keys.dead(0), "x")
        with pytest.raises(Refused):
            await Graveyard(redis, keys).ls()
        nowhere = client("redis://127.0.0.1:1/0", name="test")
        with pytest.raises(BusDown):
            await Graveyard(nowhere, keys).count()
        await nowhere.aclose()
