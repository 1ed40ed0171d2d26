"""Dead letters across partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from heapq import nlargest
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bus import dead
from bus.clock import SystemClock
from bus.dead import Graveyard
from bus.errors import BusDown, Refused
from bus.keys import Keys, escape
from bus.letters import DeadLetter, Selection
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.redis_clients import aclient
from tests.servers import RedisSite


@pytest_asyncio.fixture
async def redis(redis_server: RedisSite) -> AsyncIterator[Redis]:
    async with aclient(redis_server.url) as redis:
        yield redis


@pytest_asyncio.fixture
async def pipe(redis_server: RedisSite) -> AsyncIterator[Pipe]:
    async with open_pipe(redis_server.url) as pipe:
        yield pipe


async def bury(redis: Redis, keys: Keys, partition: int, number: int) -> str:
    fields: dict[Any, Any] = {"queue": "events", "entry": f"{number}-0", "reason": f"reason {number}", "attempts": 1}
    await redis.xadd(keys.dead(partition), fields | {"e": f"event {number}"}, id=f"{number}-0")
    return f"{partition}/{number}-0"


async def test_letters_of_all_partitions_are_listed_newest_first(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        assert (await graves.count(), await graves.ls()) == (0, [])
        for number in range(1, 8):
            await bury(redis, keys, number % 3, number)
        assert await graves.count() == 7
        assert [letter.entry for letter in await graves.ls(3)] == ["7-0", "6-0", "5-0"]
        letter = (await graves.ls())[0]
        assert (letter.name, letter.queue, letter.reason, letter.attempts) == ("1/7-0", "events", "reason 7", 1)
        assert (letter.buried_at, letter.fields) == (0.007, {b"e": b"event 7"})


async def test_one_letter_is_shown_dropped_or_sent_again(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
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
async def test_a_name_that_is_none_names_nothing(redis: Redis, pipe: Pipe, keys: Keys, name: str) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        assert (await graves.get(name), await graves.drop(name), await graves.replay(name)) == (None, False, None)


async def bury_job(redis: Redis, keys: Keys, number: int, channel: str = "email", **more: Any) -> str:
    """A job of alice's that was given up."""
    p = keys.partition("alice")
    fields = {"queue": f"jobs:{channel}", "entry": f"{number}-0", "reason": "timeout", "attempts": 8}
    job = {"id": f"d{number}", "e": f"4.shop/e{number}", "u": "alice", "n": 8, "x2": 0, "w": "timeout"} | more
    await redis.xadd(keys.dead(p), fields | job, id=f"{number}-0")
    return f"{p}/{number}-0"


async def test_those_that_are_meant_are_found_among_many(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        for number in range(1, 301):
            await bury(redis, keys, number % 2, number)
        job = await bury_job(redis, keys, 1_000)
        assert [letter.name for letter in (await graves.find(Selection("jobs:email"))).letters] == [job]
        found = await graves.find(Selection(reason="reason 1", until=0.199), 1_000)
        assert len(found.letters) == 111
        assert not found.more
        assert [letter.entry for letter in found.letters[:2]] == ["199-0", "198-0"]
        some = await graves.find(Selection(since=0.1, until=0.25), 10)
        assert (len(some.letters), some.letters[0].entry, some.more) == (10, "250-0", True)
        named = await graves.find(Selection(names=("0/2-0", "1/3-0", "1/4-0", "nonsense"), reason="reason 3"))
        assert [letter.entry for letter in named.letters] == ["3-0"]


async def test_no_more_are_held_than_are_wanted(
    redis: Redis, pipe: Pipe, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def newest(count: int, letters: list[DeadLetter], key: Any) -> list[DeadLetter]:
        held.append(len(letters))
        return nlargest(count, letters, key)

    monkeypatch.setattr(dead, "PAGE", 10)
    monkeypatch.setattr(dead, "nlargest", newest)
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        for number in range(1, 181):
            # One partition has the newest, others are mixed.
            await bury(redis, keys, 0 if number > 120 else number % 3, number)
        for limit in (1, 5, 59, 60, 61, 179, 180, 1_000):
            found = await graves.find(Selection(), limit)
            assert [one.entry for one in found.letters] == [f"{n}-0" for n in range(180, 180 - min(limit, 180), -1)]
            assert found.more == (limit < 180)
        odd = await graves.find(Selection(reason="7"), 3)
        assert [one.entry for one in odd.letters] == ["179-0", "178-0", "177-0"]
        held.clear()
        await graves.find(Selection(), 5)
        assert max(held) <= 5 + 1 + 3 * 10
        assert len(held) == 1


async def test_a_job_is_sent_again_with_all_its_attempts_and_some_time(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        for number, expires in ((1, 0), (2, 5), (3, 4_000_000_000_000)):
            await bury_job(redis, keys, number, x2=expires)
        found = await graves.find(Selection("jobs:email"))
        assert sorted(await graves.replay_all(found.letters)) == sorted(one.name for one in found.letters)
        assert await graves.replay_all(found.letters) == []
        p = keys.partition("alice")
        jobs = [fields for _, fields in await redis.xrange(keys.jobs(p, "email"))]
        assert [(job[b"id"], job[b"n"], job[b"w"]) for job in jobs] == [
            (f"d{n}".encode(), b"0", b"") for n in (3, 2, 1)
        ]
        never, given, own = (int(job[b"x2"]) for job in reversed(jobs))
        assert (never, own) == (0, 4_000_000_000_000)
        now = int((await redis.time())[0])
        assert 3_590 < given / 1_000 - now < 3_610
        told = [fields for _, fields in await redis.xrange(keys.trail("alice"))]
        assert {(one[b"k"], one[b"c"], one[b"r"]) for one in told} == {(b"queued", b"email", b"sent again by hand")}
        assert told[0][b"e"] == escape("4.shop/e3").encode()
        assert await redis.ttl(keys.trail("alice")) > 0
        assert await graves.count() == 0


async def test_what_was_buried_goes_back_to_the_queue_it_was_in(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        own = {"entry": "1-0", "reason": "x", "attempts": 1}
        for queue, fields in (("events", {"e": "{}"}), ("bulk", {"k": "follow"}), ("timers", {"t": "step\nx\ny\n1"})):
            await redis.xadd(keys.dead(2), {"queue": queue} | own | fields)
        empty = await redis.xadd(keys.dead(2), {"queue": "events"} | own)
        found = await graves.find(Selection())
        assert len(await graves.replay_all(found.letters)) == 3
        assert (await redis.xlen(keys.events(2)), await redis.xlen(keys.bulk(2))) == (1, 1)
        assert await redis.zrange(keys.timers(2), 0, -1) == [b"step\nx\ny\n1"]
        (left,) = (await graves.find(Selection())).letters
        assert left.id == empty.decode()
        with pytest.raises(Refused, match="nothing was kept"):
            await graves.replay(left.name)


async def test_a_job_of_nobody_here_goes_back_without_a_trail(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    """A letter may be all that is left of a job, or of one that somebody wrote by hand."""
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        own = {"queue": "jobs:email", "entry": "1-0", "reason": "x", "attempts": 1}
        stranger = next(name for name in map(str, range(100)) if keys.partition(name) not in (2, keys.partition("")))
        await redis.xadd(keys.dead(2), own)
        for fields in ({"id": "d1"}, {"id": "d2", "u": stranger}):
            await redis.xadd(keys.dead(2), own | fields)
        assert len(await graves.replay_all((await graves.find(Selection())).letters)) == 2
        assert [fields for _, fields in await redis.xrange(keys.jobs(2, "email"))] == [
            {b"id": b"d2", b"u": stranger.encode()},
            {b"id": b"d1"},
        ]
        assert (await redis.exists(keys.trail("")), await redis.exists(keys.trail(stranger))) == (0, 0)
        (left,) = (await graves.find(Selection())).letters
        assert left.about == {}


async def test_those_that_are_meant_are_dropped(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        graves = Graveyard(pipe, keys)
        kept = await bury(redis, keys, 1, 1)
        for number in (2, 3):
            await bury_job(redis, keys, number)
        found = await graves.find(Selection("jobs:email"))
        assert len(await graves.drop_all(found.letters)) == 2
        assert await graves.drop_all(found.letters) == []
        assert [letter.name for letter in await graves.ls()] == [kept]


async def test_they_are_reached_by_a_pipe_too(redis: Redis, redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        graves = Graveyard(pipe, keys)
        name = await bury_job(redis, keys, 1)
        assert await graves.replay(name) is not None
        assert await graves.replay(name) is None
        await redis.set(keys.dead(0), "x")
        with pytest.raises(Refused, match="WRONGTYPE"):
            await graves.find(Selection())


async def test_what_redis_says_is_an_error_of_the_bus(redis: Redis, pipe: Pipe, keys: Keys) -> None:
    async with asyncio.timeout(60):
        await redis.set(keys.dead(0), "x")
        with pytest.raises(Refused):
            await Graveyard(pipe, keys).ls()
        nowhere = Pipe("redis://127.0.0.1:1/0", name="test", clock=SystemClock())
        with pytest.raises(BusDown):
            await Graveyard(nowhere, keys).count()
