"""Producers that write to Redis themselves are kept to their rates: late, never lost, and nobody waits for them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from bus.clock import SystemClock
from bus.keys import Keys
from tests.conftest import open_pipe
from tests.fanout.stand import Node, data_of, running_worker, settings_for

TO = {"users": ["alice"]}


async def write(pipe: Any, keys: Keys, producer: str, numbers: range, *more: str) -> None:
    """Events for alice, XADDed by a producer."""
    events = [{"id": f"{producer}{n}", "type": "note", "to": TO, "data": [producer, n]} for n in numbers]
    stream = keys.events(keys.partition("alice"))
    for event in events:
        await pipe.ask("XADD", stream, "*", "p", producer, "e", orjson.dumps(event), *more)


async def read(node: Node, count: int) -> list[tuple[str, int]]:
    found = [data_of(entry["b"]) for entry in await node.entries(count)]
    return [(producer, number) for producer, number in found]


async def test_what_is_over_the_rate_comes_later_in_order_and_holds_nobody_up(redis_server: Any, keys: Keys) -> None:
    producers = {"loud": {"rate": 40, "burst": 10}}
    async with open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("@alice")
        await write(pipe, keys, "loud", range(40))
        await write(pipe, keys, "quiet", range(20))
        clock = SystemClock()
        async with running_worker(settings_for(redis_server.url, keys, producers=producers)):
            began = clock.monotonic()
            got = await read(node, 60)
            assert clock.monotonic() - began > 0.5
        assert got[:30] == [("loud", n) for n in range(10)] + [("quiet", n) for n in range(20)]
        assert got[30:] == [("loud", n) for n in range(10, 40)]


async def test_what_a_gateway_let_in_is_not_counted_again(redis_server: Any, keys: Keys) -> None:
    producers = {"loud": {"rate": 0.01, "burst": 1}}
    async with open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("@alice")
        await write(pipe, keys, "loud", range(30), "g", "1")
        async with running_worker(settings_for(redis_server.url, keys, producers=producers)):
            assert await read(node, 30) == [("loud", n) for n in range(30)]


async def test_all_who_have_no_table_share_one_bucket(redis_server: Any, keys: Keys) -> None:
    producers = {"*": {"rate": 20, "burst": 5}}
    async with open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("@alice")
        for name in ("a", "b", "c"):
            await write(pipe, keys, name, range(5))
        clock = SystemClock()
        async with asyncio.timeout(60), running_worker(settings_for(redis_server.url, keys, producers=producers)):
            began = clock.monotonic()
            assert sorted(await read(node, 15)) == sorted((name, n) for name in "abc" for n in range(5))
            assert clock.monotonic() - began > 0.3


async def test_a_flood_of_one_does_not_delay_twenty_of_another(redis_server: Any, keys: Keys) -> None:
    producers = {"loud": {"rate": 100, "burst": 50}}
    async with open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("@alice")
        await write(pipe, keys, "loud", range(2_000))
        await write(pipe, keys, "quiet", range(20))
        clock = SystemClock()
        async with running_worker(settings_for(redis_server.url, keys, producers=producers)):
            began = clock.monotonic()
            got: list[tuple[str, int]] = []
            while ("quiet", 19) not in got:
                got += await read(node, 1)
            took = clock.monotonic() - began
        assert [number for producer, number in got if producer == "quiet"] == list(range(20))
        # A moment, of which more goes by where processes wait for a core: the loud one gets its rate meanwhile.
        assert len(got) < 400 + 100 * max(0.0, took - 1)
        assert len(got) < 1_000, "its two thousand did not go first"
