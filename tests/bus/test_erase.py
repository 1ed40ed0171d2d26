"""Erasing on every Redis: the scripts take out what is somebody's, count what is shared, and can be run again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.keys import Keys
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.servers import RedisSite

REF = "1.s/1"


@asynccontextmanager
async def piped(server: RedisSite) -> AsyncIterator[Pipe]:
    async with asyncio.timeout(60), open_pipe(server.url) as pipe:
        yield pipe


async def test_an_event_goes_with_the_last_one_who_has_it(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        p = keys.partition("a")
        body, seen, counts = keys.body(p, REF), keys.seen(p, REF), keys.counts(p, REF)
        await pipe.ask("HSET", body, "pub", "x", "n", 2)
        await pipe.ask("HSET", seen, "@a", 1, "@b", 1)
        await pipe.ask("HSET", counts, "acked", 1)
        names = [body, seen, counts, keys.log("@a"), keys.trail("a")]
        assert await pipe.script("erase_event", names, ["@a", "0", 0]) == 0
        # Begun anew after a crash, nobody is counted twice.
        assert await pipe.script("erase_event", names, ["@a", "0", 0]) == 0
        assert await pipe.ask("HGET", body, "n") == b"1"
        assert await pipe.script("erase_event", names, ["@b", "0", 0]) == 1
        assert await pipe.ask("EXISTS", body, seen, counts) == 0


async def test_whom_an_event_was_given_is_known_from_inbox_and_trail_too(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        p = keys.partition("a")
        body, inbox, trail = keys.body(p, REF), keys.log("@a"), keys.trail("a")
        for command in (
            ("HSET", body, "pub", "x", "n", 3),
            ("XADD", inbox, "7-0", "b", "x"),
            ("XADD", trail, "9-1", "e", "x"),
        ):
            await pipe.ask(*command)
        names = [body, keys.seen(p, REF), keys.counts(p, REF), inbox, trail]
        for _ in range(2):
            await pipe.script("erase_event", names, ["@a", "0", 1, "7-0", "9-1"])
            assert await pipe.ask("HGET", body, "n") == b"2"
        assert (await pipe.ask("XLEN", inbox), await pipe.ask("XLEN", trail)) == (0, 0)


async def test_what_waits_for_its_time_stays_and_what_is_of_the_system_goes(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        p = keys.partition("a")
        body = keys.body(p, REF)
        names = [body, keys.seen(p, REF), keys.counts(p, REF), keys.log("@a"), keys.trail("a")]
        await pipe.ask("HSET", body, "e", "x")
        await pipe.ask("HSET", keys.seen(p, REF), "@a", 0)
        assert await pipe.script("erase_event", names, ["@a", "0", 0]) == 0
        assert await pipe.ask("EXISTS", body) == 1
        assert await pipe.script("erase_event", names, ["@a", "1", 0]) == 1
        assert await pipe.ask("EXISTS", body) == 0


async def test_jobs_go_from_the_stream_and_from_who_has_taken_them(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        jobs = keys.jobs(0, "push")
        for user in ("a", "b", "a", "b", "a"):
            await pipe.ask("XADD", jobs, "*", "e", "a", "u", user)
        await pipe.ask("XGROUP", "CREATE", jobs, "deliver", "0")
        await pipe.ask("XREADGROUP", "GROUP", "deliver", "p0", "COUNT", 3, "STREAMS", jobs, ">")
        last = b"-"
        while last:
            found = await pipe.script("erase_jobs", [jobs], ["a", "deliver", last, 2])
            last = b"(" + found if found else b""
        assert [fields[3] for _, fields in await pipe.ask("XRANGE", jobs, "-", "+")] == [b"b", b"b"]
        assert (await pipe.ask("XPENDING", jobs, "deliver"))[0] == 1
        assert await pipe.script("erase_jobs", [keys.jobs(1, "push")], ["a", "deliver", "-", 2]) == b""


async def test_entries_go_though_somebody_works_them(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        stream = keys.events(0)
        entry = await pipe.ask("XADD", stream, "*", "e", "x")
        assert await pipe.script("erase_entry", [stream], ["fanout", entry]) == 1
        await pipe.ask("XGROUP", "CREATE", stream, "fanout", "0", "MKSTREAM")
        entry = await pipe.ask("XADD", stream, "*", "e", "x")
        await pipe.ask("XREADGROUP", "GROUP", "fanout", "p0", "STREAMS", stream, ">")
        assert await pipe.script("erase_entry", [stream], ["fanout", entry]) == 1
        assert await pipe.script("erase_entry", [stream], ["fanout", entry]) == 0
        assert (await pipe.ask("XPENDING", stream, "fanout"))[0] == 0


async def test_what_is_tried_again_later_is_found_wherever_it_stands(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        later = keys.later(0, "email")
        pack = "redis.call('ZADD', KEYS[1], ARGV[1], cmsgpack.pack({'u', ARGV[2], 'n', ARGV[1]}))"
        for score in range(10):
            await pipe.ask("EVAL", pack, 1, later, score, "a" if score % 3 else "b")
        rank = 0
        while rank >= 0:
            rank = await pipe.script("erase_later", [later], ["a", rank, 2])
        assert [int(score) for score in (await pipe.ask("ZRANGE", later, 0, -1, "WITHSCORES"))[1::2]] == [0, 3, 6, 9]


async def test_a_timer_is_changed_only_while_it_is_there(any_server: RedisSite, keys: Keys) -> None:
    async with piped(any_server) as pipe:
        timers = keys.timers(0)
        await pipe.ask("ZADD", timers, 5, "old")
        assert await pipe.script("change_timer", [timers], ["old", "new"]) == 1
        assert await pipe.ask("ZRANGE", timers, 0, -1, "WITHSCORES") == [b"new", b"5"]
        assert await pipe.script("change_timer", [timers], ["old", "other"]) == 0
        assert await pipe.script("change_timer", [timers], ["new", ""]) == 1
        assert await pipe.ask("EXISTS", timers) == 0
