"""What stays behind when clients have come and gone: nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextvars import Context

from bus.keys import Keys
from gateway.node import Node
from tests.gateway.stand import Client, running_node, token
from tests.servers import RedisSite

ROUNDS = 300
SLACK = 50
"""Objects that may come and go by themselves: caches, a timer or two."""


def objects() -> int:
    """How many are kept, but for the timers that were cancelled: the loop forgets them by the hundred.

    A `Context` is not counted for itself; whatever keeps one, a timer or a task, is.
    """
    gc.collect()
    return sum(not (isinstance(one, Context) or _is_cancelled(one)) for one in gc.get_objects())


def _is_cancelled(one: object) -> bool:
    return isinstance(one, asyncio.TimerHandle) and one.cancelled()


async def meet_all(node: Node) -> None:
    """Each look at a cluster is through another of its nodes, on a connection that stays: have all of them now."""
    for _ in range(3):  # scanning looks twice, and there are six nodes
        async for _ in node.pipe.scan("no such key", 100_000):
            pass


async def come_and_go(node: Node, rounds: int, tokens: Sequence[str]) -> None:
    for number in range(rounds):
        client = Client(node)
        await client.ask({"id": 1, "connect": {"token": tokens[number % len(tokens)]}})
        await client.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        client.vanish()
        node.service.watch.tick(node.clock.monotonic(), node.clock.wall())
    for master in node.pipe.masters():  # what was asked of each is answered by then
        await master.ask("PING")
    # Who left is remembered for a moment where its token was to be watched; that moment is over now.
    node.service.watch.tick(node.clock.monotonic(), node.clock.wall() + 7200)


async def test_clients_that_went_leave_nothing_behind(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        # A token that was seen is remembered, so many at most: the same ones however long this takes.
        tokens = [token(f"user{number}") for number in range(7)]
        await meet_all(node)
        await come_and_go(node, ROUNDS, tokens)
        before = objects()
        await come_and_go(node, ROUNDS, tokens)
        assert objects() - before < SLACK
        assert node.service.hub.topics == {}
        assert node.service.watch.strangers == 0
        assert (node.stats.connections, node.stats.authenticated, node.stats.stalled) == (0, 0, 0)
        assert await node.pipe.ask("EXISTS", keys.routes("room:a"), keys.presence("room:a")) == 0
