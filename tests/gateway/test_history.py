"""Pages of a log: bounded by what one reply may weigh, whole together."""

from __future__ import annotations

from typing import Any

import pytest

from bus.keys import Keys
from gateway.joins import MOST_BYTES
from tests.gateway.stand import Client, Producer, running_node
from tests.redis_site import RedisSite

COUNT = 40
BODY = "x" * 60_000
"""So many of these are more than a page may weigh."""


@pytest.mark.parametrize("reverse", [False, True])
async def test_pages_of_large_publications_end_early_and_go_on_where_they_ended(
    redis_server: RedisSite, keys: Keys, reverse: bool
) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, alice = Producer(node.pipe, keys, kept=COUNT), Client(node)
        await alice.connect("alice")
        for n in range(1, COUNT + 1):
            await producer.publish("room:a", [n, BODY])
        read: list[int] = []
        since: dict[str, Any] = {}
        for number in range(2, 6):
            asked = {"channel": "room:a", "limit": -1, "reverse": reverse, **since}
            page = (await alice.ask({"id": number, "history": asked}))["history"]
            numbers = [pub["data"][0] for pub in page["publications"]]
            assert len(BODY) * len(numbers) < MOST_BYTES
            read += numbers
            if len(read) == COUNT:
                break
            assert len(BODY) * (len(numbers) + 1) > 0.9 * MOST_BYTES
            since = {"since": {"offset": page["publications"][-1]["offset"], "epoch": page["epoch"]}}
        assert read == sorted(range(1, COUNT + 1), reverse=reverse)
