"""Nodes that are killed leave nothing behind that stays: their streams, routes and presence go by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from redis import Redis

from tests.faults.crowd import Person, coming, eventually
from tests.faults.producers import Poster, posting
from tests.system import OPEN, Gateway, system

NODES: Final = 3
TOPICS: Final = ["room:a", "room:b"]
PEOPLE: Final = 12
ROUTES_TTL: Final = 10 * 2 + 60
"""What a gateway gives a route whose topics are checked every two seconds."""
OF_NODES: Final = ("tocsin:{node-*", "*:routes", "*:presence", "*:presence_expiry")


def lasting(redis: Redis) -> set[bytes]:
    """Keys that would stay for ever."""
    return {key for key in redis.scan_iter(count=1_000) if redis.ttl(key) == -1}  # -2: it went meanwhile


async def live(gateways: list[Gateway], day: int) -> None:
    """People connect to all of these nodes, and get something each; then the nodes are killed under them."""
    for gateway in gateways:
        if not gateway.runs:
            gateway.start()
    for gateway in gateways:
        await asyncio.to_thread(gateway.until_ready)
    ports = [gateway.port for gateway in gateways]
    people = [Person(f"user{n}", TOPICS, ports, Random(n), port=ports[n % len(ports)]) for n in range(PEOPLE)]
    async with posting() as http, coming(*people):
        await eventually(lambda: all(person.ready.is_set() for person in people))
        to = {"users": [person.user for person in people], "topics": TOPICS}
        event: dict[str, Any] = {"id": f"day {day}", "source": "shop", "type": "note", "to": to, "data": day}
        poster = Poster(http, [gateway.origin for gateway in gateways])
        while not await poster(event):  # noqa: ASYNC110  # the same one, until it is accepted
            await asyncio.sleep(0.1)
        await eventually(lambda: all(person.got[topic] == [day] for person in people for topic in person.got))
        for gateway in gateways:
            gateway.kill()


@pytest.mark.slow
async def test_of_killed_nodes_nothing_stays(tmp_path: Path) -> None:
    room = OPEN | {"presence": "user", "join_leave": True}
    quick: dict[str, Any] = {"node_ttl": 1, "position_check": 2, "presence_ttl": 2, "node_stream_ttl": 5}
    with system(tmp_path, gateways=NODES, namespaces={"room": room}, **quick) as made:
        redis = made.redis.client()
        async with asyncio.timeout(150):
            await live(made.gateways, 1)
            await eventually(lambda: not redis.exists("tocsin:nodes"))
            before = lasting(redis)
            assert before
            await live(made.gateways, 2)
            await eventually(lambda: not redis.exists("tocsin:nodes"))
            await eventually(lambda: not lasting(redis) - before)
            left = {key: redis.ttl(key) for pattern in OF_NODES for key in redis.scan_iter(pattern, count=1_000)}
            assert max(left.values()) <= ROUTES_TTL
            await eventually(lambda: not list(redis.scan_iter("tocsin:{node-*", count=1_000)))
            await eventually(lambda: not list(redis.scan_iter("*:presence*", count=1_000)))
        redis.close()
