"""What fan-out tests stand on: a worker in this process, and a gateway node as the bus sees one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson

from bus.keys import Keys
from bus.pipe import Pipe
from fanout.main import run
from fanout.settings import FanoutSettings

PATIENCE: Final = 120.0
"""Every test of a worker is over by then, however seldom it gets a core."""


def settings_for(url: str, keys: Keys, **more: Any) -> FanoutSettings:
    """Settings of a worker on this installation."""
    return FanoutSettings(redis_url=url, prefix=keys.prefix, partitions=keys.partitions, **more)


@asynccontextmanager
async def running_worker(settings: FanoutSettings) -> AsyncIterator[asyncio.Event]:
    """A worker for the length of the block; the event given stops it."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(run(settings, stop))
        yield stop
        stop.set()


class Node:
    """A gateway node: it is alive, listens to topics, and reads its stream."""

    def __init__(self, pipe: Pipe, keys: Keys, name: str = "n1") -> None:
        self.pipe, self.keys, self.name = pipe, keys, name
        self._read_to = b"0-0"

    async def beat(self, ttl: float = 600) -> None:
        keys = (
            self.keys.node_deliveries(self.name),
            self.keys.node_sequence(self.name),
            self.keys.node_alive(self.name),
        )
        await self.pipe.script("beat_node", keys, (int(ttl * 1000), int(ttl * 1000), 0))

    async def listen(self, *topics: str) -> None:
        """Be alive and route these topics here."""
        await self.beat()
        for topic in topics:
            await self.read(topic)

    async def read(self, topic: str, since: int | None = None, limit: int = 100_000) -> tuple[str, int, list[bytes]]:
        """Epoch, top, and the publications after `since`."""
        keys = self.keys
        prefix = keys.body_prefix(keys.partition(topic))
        args = (self.name, "fresh", int(since is not None), since or 0, limit, prefix, 600, 86_400)
        names = (keys.log(topic), keys.meta(topic), keys.routes(topic))
        epoch, top, flat, *_ = await self.pipe.script("join", names, args)
        return epoch.decode(), top, flat[1::2]

    async def entries(self, count: int = 1) -> list[dict[str, bytes]]:
        """The next entries of the node's stream, waited for."""
        out: list[dict[str, bytes]] = []
        stream = self.keys.node_deliveries(self.name)
        while len(out) < count:
            found = await self.pipe.ask("XREAD", "BLOCK", 100, "STREAMS", stream, self._read_to)
            for _, entries in found or ():
                for number, flat in entries:
                    self._read_to = number
                    out.append(_named(flat))
        return out

    async def all_entries(self) -> list[dict[str, bytes]]:
        """Everything on the node's stream."""
        found = await self.pipe.ask("XRANGE", self.keys.node_deliveries(self.name), "-", "+")
        return [_named(flat) for _, flat in found]


def _named(flat: list[bytes]) -> dict[str, bytes]:
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


async def send(pipe: Pipe, keys: Keys, event: dict[str, Any], partition: int | None = None) -> tuple[int, str]:
    """XADD an event as a producer would; its partition and position."""
    to = event["to"]
    key = event.get("key") or (to.get("users") or to.get("topics"))[0]
    p = keys.partition(key) if partition is None else partition
    return p, (await pipe.ask("XADD", keys.events(p), "*", "e", orjson.dumps(event))).decode()


async def acknowledged(pipe: Pipe, queues: Iterable[tuple[str, str]]) -> bool:
    """Whether the newest entry of each stream is what its head says was acknowledged; an empty one has none."""
    for stream, head in queues:
        newest = await pipe.ask("XREVRANGE", stream, "+", "-", "COUNT", 1)
        if newest and newest[0][0] != await pipe.ask("HGET", head, "acked"):
            return False
    return True


def data_of(publication: bytes) -> Any:
    """The producer's own `data` in a publication."""
    return orjson.loads(b"{" + publication + b"}")["data"]["data"]
