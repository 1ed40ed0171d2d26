"""The release before this one on the same Redis: its scripts know of no generations, and neither breaks the other's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bus.keys import Keys
from tests.bus.test_scripts import Bench
from tests.conftest import open_pipe
from tocsin.embedded import EmbeddedRedis

TOPIC = "news:a"

JOIN_BEFORE = """
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  redis.call('DEL', KEYS[1])
  epoch = ARGV[1]
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'top', 0)
end
return {epoch, tonumber(redis.call('HGET', KEYS[2], 'top'))}
"""
"""What of the former join.lua has to do with positions."""

PUBLISH_BEFORE = """
local known = redis.call('HMGET', KEYS[2], 'epoch', 'top')
local epoch, top = known[1], known[2]
if not epoch then
  epoch, top = ARGV[1], 0
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'top', 0)
  redis.call('DEL', KEYS[1])
end
local offset = string.format('%.0f', top + 1)
redis.call('XADD', KEYS[1], 'MAXLEN', 100, offset .. '-0', 'b', ARGV[2])
redis.call('HSET', KEYS[2], 'top', offset)
return {tonumber(offset), epoch}
"""
"""What of the former publish.lua has to do with positions."""

ACK_BEFORE = """
local acked = redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, 2))
redis.call('HSET', KEYS[3], 'acked', ARGV[#ARGV])
return acked
"""


class Both(Bench):
    """The scripts of both releases."""

    async def former_join(self) -> list[Any]:
        names = (self.keys.log(TOPIC), self.keys.meta(TOPIC))
        return list(await self.ask("EVAL", JOIN_BEFORE, 2, *names, "old"))

    async def former_publish(self, event: str) -> list[Any]:
        names = (self.keys.log(TOPIC), self.keys.meta(TOPIC))
        return list(await self.ask("EVAL", PUBLISH_BEFORE, 2, *names, "old", event))

    async def begin(self, name: str) -> None:
        await self.ask("HSET", self.keys.generation(self.keys.partition(TOPIC)), "n", 2, "name", name)


@pytest_asyncio.fixture
async def both(any_server: EmbeddedRedis, keys: Keys) -> AsyncIterator[Both]:
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe:
        yield Both(pipe, keys)


@pytest.mark.parametrize("maker", ["former", "new"])
async def test_both_give_one_epoch_and_offsets_in_turn(both: Both, maker: str) -> None:
    epoch = (await both.former_join())[0] if maker == "former" else (await both.join(TOPIC))[0]
    assert (await both.publish("e1", [TOPIC]))[0][:2] == [1, epoch]
    assert await both.former_publish("e2") == [2, epoch]
    assert (await both.publish("e3", [TOPIC]))[0][:2] == [3, epoch]
    assert await both.former_join() == [epoch, 3]
    assert (await both.join(TOPIC))[:2] == [epoch, 3]


async def test_after_a_failover_both_go_on_in_the_new_epoch(both: Both) -> None:
    await both.former_publish("e1")
    await both.begin("2gab")
    assert (await both.join(TOPIC))[::3] == [b"old-2gab", b"old 1"]
    assert await both.former_join() == [b"old-2gab", 1]
    assert await both.former_publish("e2") == [2, b"old-2gab"]
    assert (await both.publish("e3", [TOPIC]))[0][:2] == [3, b"old-2gab"]


async def test_a_topic_that_the_former_release_made_meanwhile_begins_an_epoch_too_many(both: Both) -> None:
    """It says nothing of its generation, so it counts as of the first; its cursors go on counting."""
    await both.begin("2gab")
    await both.former_publish("e1")
    assert (await both.join(TOPIC))[::3] == [b"old-2gab", b"old 1"]


async def test_what_the_former_release_acknowledged_is_not_given_again(both: Both, pipe_keys: tuple[str, str]) -> None:
    lease, head = pipe_keys
    await both.lease()
    await both.add(3)
    ids = await both.taken()
    events = both.keys.events(3)
    await both.ask("EVAL", ACK_BEFORE, 3, lease, events, head, "fanout", ids[0], ids[1])
    assert await both.pipe.script("window", (head,), (60_000,)) == [ids[1], ids[1], b""]
    await both.ack(ids[2])
    assert (await both.pipe.script("window", (head,), (60_000,)))[:2] == [ids[1], ids[2]]


@pytest.fixture
def pipe_keys(keys: Keys) -> tuple[str, str]:
    """Lease and head of the partition that is worked."""
    return keys.lease(3), keys.head(3)
