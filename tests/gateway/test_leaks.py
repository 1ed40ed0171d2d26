"""What stays behind when clients have come and gone: nothing."""

from __future__ import annotations

import gc

from bus.keys import Keys
from gateway.node import Node
from tests.gateway.stand import Client, running_node
from tests.servers import RedisSite

ROUNDS = 300
SLACK = 50
"""Objects that may come and go by themselves: caches, a timer or two."""


async def come_and_go(node: Node, rounds: int) -> None:
    for number in range(rounds):
        client = Client(node)
        await client.connect(f"user{number % 7}")
        await client.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        client.vanish()
        node.service.watch.tick(node.clock.monotonic(), node.clock.wall())
    await node.pipe.ask("PING")
    # Who left is remembered for a moment where its token was to be watched; that moment is over now.
    node.service.watch.tick(node.clock.monotonic(), node.clock.wall() + 7200)


async def test_clients_that_went_leave_nothing_behind(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        await come_and_go(node, ROUNDS)
        gc.collect()
        before = len(gc.get_objects())
        await come_and_go(node, ROUNDS)
        gc.collect()
        assert len(gc.get_objects()) - before < SLACK
        assert node.service.hub.topics == {}
        assert node.service.watch.strangers == 0
        assert (node.stats.connections, node.stats.authenticated, node.stats.stalled) == (0, 0, 0)
        assert await node.pipe.ask("EXISTS", keys.routes("room:a"), keys.presence("room:a")) == 0
