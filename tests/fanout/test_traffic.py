"""What a node is sent is what its own connections listen to, however many nodes and topics there are."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from bus.keys import Keys
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.fanout.stand import Node, acknowledged, running_worker, send, settings_for
from tests.servers import RedisSite

NODES: Final = 5
TOPICS: Final = 60
EVERYBODYS: Final = "news:all"


def listens(node: int) -> list[str]:
    """The first node listens to nothing; of the others each to as many topics again as the one before it."""
    return [f"news:{n}" for n in range(TOPICS) if n % 10 < node]


async def worked(pipe: Pipe, keys: Keys) -> bool:
    """Whether all that came was acknowledged, which is after every node has its part: nothing more can come."""
    return await acknowledged(pipe, ((keys.events(p), keys.head(p)) for p in range(keys.partitions)))


async def test_each_node_gets_the_bytes_of_what_it_listens_to_and_no_more(redis_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(redis_server.url) as pipe, running_worker(settings_for(redis_server.url, keys)):
        nodes = [Node(pipe, keys, f"n{number}") for number in range(NODES)]
        for number, node in enumerate(nodes):
            await node.listen(*listens(number), *([EVERYBODYS] if number else []), f"@user{number}")
        for topic in (EVERYBODYS, *(f"news:{n}" for n in range(TOPICS))):
            await send(pipe, keys, {"type": "x", "to": {"topics": [topic]}, "data": "x" * 100})
        await send(pipe, keys, {"type": "x", "to": {"users": [f"user{n}" for n in range(1, NODES)]}})
        sizes = []
        for number, node in enumerate(nodes):
            wanted = len(listens(number)) + 2 if number else 0
            entries = await node.entries(wanted)
            topics = sorted(entry["t"].decode() for entry in entries if entry["k"] == b"t")
            assert topics == sorted([*listens(number), EVERYBODYS] if number else [])
            assert [orjson.loads(entry["u"])[0][0] for entry in entries if entry["k"] == b"u"] == [f"user{number}"] * (
                number > 0
            )
            sizes.append(sum(len(value) for entry in entries for value in entry.values()))
        while not await worked(pipe, keys):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)
        sequences = await pipe.asks(("GET", keys.node_sequence(node.name)) for node in nodes)
    assert [int(sequence) for sequence in sequences] == [0, *(len(listens(n)) + 2 for n in range(1, NODES))]
    assert sizes[0] == 0
    per_entry = [size / (len(listens(number)) + 2) for number, size in enumerate(sizes) if number]
    assert max(per_entry) / min(per_entry) < 1.1
