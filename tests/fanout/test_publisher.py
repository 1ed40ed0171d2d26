"""The publisher when parts of a batch fail: order holds, and nothing is called done that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from bus.clock import SystemClock
from bus.event import Event
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.outcome import Done, Retry, Unavailable
from bus.pipe import Pipe
from fanout import publisher as module
from fanout.alarm import Alarm
from fanout.audience import Retention, Rules
from fanout.graves import Graves
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.settings import FanoutSettings
from fanout.stats import Stats
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import open_pipe
from tests.fanout.stand import Node
from tests.servers import RedisSite

LATER = 4_000_000_000.0


def events(*audiences: Iterable[str]) -> list[Current]:
    return [
        Current(Event(str(n), "shop", "x", 0.0, topics=tuple(f"news:{name}" for name in names), data=n), LATER)
        for n, names in enumerate(audiences)
    ]


def publisher(pipe: Pipe, keys: Keys) -> tuple[Publisher, Stats]:
    stats, clock = Stats(), SystemClock()
    rules = Rules(keys, Namespaces({}), Retention(1_000, 3_600))
    alarm = Alarm(pipe, keys, "w")
    return Publisher(pipe, rules, FanoutSettings(), Graves(clock, 60), clock, stats, alarm.ring), stats


async def test_an_event_does_not_overtake_one_that_failed(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        works, _ = publisher(pipe, keys)
        currents = events("a", "ab", "b", "c")
        await pipe.ask("SET", keys.meta("news:a"), "not that type")
        first, second, third, fourth = await works.publish(currents)
        assert isinstance(first, Retry)
        assert isinstance(second, Unavailable)  # it waits for the first
        assert isinstance(fourth, Done)
        # What shares a topic with one that waits is ahead of nobody: either it waits too, or its topic was served.
        top = await pipe.ask("HGET", keys.meta("news:b"), "top")
        assert isinstance(third, Unavailable) == (top is None)
        await pipe.ask("DEL", keys.meta("news:a"))
        assert all(isinstance(outcome, Done) for outcome in await works.publish(currents))
        node = Node(pipe, keys)
        for topic, order in (("news:a", [0, 1]), ("news:b", [1, 2]), ("news:c", [3])):
            _, top, publications = await node.read(topic, 0)
            assert [b'"data":%d' % n in p for n, p in zip(order, publications, strict=True)] == [True] * len(order)


@pytest.mark.one_server
async def test_a_connection_lost_in_a_batch_finishes_nothing(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), holding_proxy(redis_server.port) as (proxy, url), open_pipe(url) as pipe:
        works, _ = publisher(pipe, keys)
        currents = events("a", "a", "b")
        async with asyncio.TaskGroup() as group:
            proxy.hold()
            publishing = group.create_task(works.publish(currents))
            await proxy.held.wait()
            proxy.cut()
        assert [type(outcome) for outcome in publishing.result()] == [Unavailable] * 3
        await pipe.wait_up(30)
        assert [type(outcome) for outcome in await works.publish(currents)] == [Done] * 3
        assert await pipe.ask("XLEN", keys.log("news:a")) == 2


async def test_a_nodes_broken_stream_is_not_held_against_the_event(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        works, stats = publisher(pipe, keys)
        await Node(pipe, keys).listen("news:a")
        await pipe.ask("SET", keys.node_deliveries("n1"), "not that type")
        assert [type(outcome) for outcome in await works.publish(events("a"))] == [Done]
        assert (stats.relayed, stats.not_relayed) == (0, 1)


@pytest.mark.one_server
async def test_a_node_that_cannot_be_told_now_is_told_later(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), holding_proxy(redis_server.port) as (proxy, url), open_pipe(url) as pipe:
        works, stats = publisher(pipe, keys)
        await Node(pipe, keys).listen("news:a")
        currents = events("a")
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(works.publish(currents))
            while not any(b"deliveries" in chunk for chunk in proxy.chunks[-1:]):  # noqa: ASYNC110
                await asyncio.sleep(0)
            proxy.cut()
        (outcome,) = publishing.result()
        assert isinstance(outcome, Unavailable | Done)
        await pipe.wait_up(30)
        assert [type(outcome) for outcome in await works.publish(currents)] == [Done]
        assert stats.relayed >= 1


async def test_epochs_differ(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        works, _ = publisher(pipe, keys)
        node, epochs = Node(pipe, keys), set()
        for number in range(3):
            await pipe.ask("DEL", keys.meta("news:a"), keys.log("news:a"))
            await works.publish([Current(Event(str(number), "shop", "x", 0.0, topics=("news:a",)), LATER)])
            epochs.add((await node.read("news:a"))[0])
        assert len(epochs) == 3


async def test_nobody_waits_behind_thousands(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 30)
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        works, _ = publisher(pipe, keys)
        users = tuple(f"user{n}" for n in range(400))
        order: list[str] = []

        async def publish(event: Event) -> None:
            assert await works.publish([Current(event, LATER)]) == [Done()]
            order.append(event.id)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish(Event("many", "shop", "x", 0.0, users=users)))
            group.create_task(publish(Event("one", "shop", "x", 0.0, users=("user0",))))
        assert order == ["one", "many"]
        tops = [await pipe.ask("HGET", keys.meta(f"@{user}"), "top") for user in users]
        assert tops == [b"2", *([b"1"] * 399)]
