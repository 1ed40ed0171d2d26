"""A whole node but for its sockets: real Redis, real sessions, and clients that keep what they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import orjson

from bus.clock import SystemClock
from bus.connect import BLOCK, COMMAND_TIMEOUT
from bus.event import ref_of
from bus.keys import Keys, inbox_of
from bus.pipe import Pipe, Topology
from gateway.effects import Joined
from gateway.mint import mint
from gateway.node import Node, build
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire

SECRET = "a test secret of at least thirty-two bytes"
OPEN = {"subscribe": "user", "publish": "user", "presence": "user", "history": "user", "join_leave": True}


class Client:
    """A connection without a socket. `got` holds the JSON objects it was sent, `closed` why it was closed."""

    session: Session

    def __init__(self, node: Node, wire: Wire = Wire.STREAM) -> None:
        self.wire = wire
        self.remote = "test"
        self.slot = -1
        self.got: list[Any] = []
        self.closed: Disconnect | None = None
        self.late = False
        self.offered: list[tuple[str, int, bytes]] = []
        self.landed: dict[str, Joined] = {}
        self.beats = 0
        self._node = node
        self._arrived = asyncio.Event()
        node.service.opened(self)

    def write(self, data: bytes) -> None:
        for line in data.split(b"\r\n")[1::2]:
            self.got.append(orjson.loads(line))
        self._arrived.set()

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        self.offered.append((topic, offset, publication))
        self._arrived.set()

    def joined(self, topic: str, answer: Joined, resumed: bool) -> None:
        self.landed[topic] = answer
        self.offered += [(topic, offset, body) for offset, body in answer.publications]
        self._arrived.set()

    def heartbeat(self) -> None:
        self.beats += 1

    def close(self, disconnect: Disconnect) -> None:
        if self.closed is None:
            self.closed = disconnect
            self._node.service.closed(self, disconnect.value.code)
            self._arrived.set()

    def overdue(self, now: float) -> bool:
        return self.late

    def vanish(self) -> None:
        """The peer goes without a word."""
        if self.closed is None:
            self.closed = Disconnect.CLOSED
            self._node.service.closed(self)

    def say(self, *commands: dict[str, Any]) -> None:
        self._node.service.received(self, b"\n".join(orjson.dumps(command) for command in commands))

    async def until(self, found: Any) -> Any:
        """Wait until `found(self)` is true, and give it back."""
        async with asyncio.timeout(30):
            while not (value := found(self)):
                self._arrived.clear()
                await self._arrived.wait()
        return value

    async def ask(self, command: dict[str, Any]) -> Any:
        """Send a command and wait for its reply."""
        self.say(command)
        return await self.until(lambda c: next((r for r in c.got if r.get("id") == command["id"]), None))

    async def connect(self, user: str, **fields: Any) -> Any:
        return await self.ask({"id": 1, "connect": {"token": token(user), **fields}})

    @property
    def publications(self) -> list[tuple[str, int, Any]]:
        """(channel, offset, data) of all publication pushes."""
        pushes = [m["push"] for m in self.got if "pub" in m.get("push", {})]
        return [(p["channel"], p["pub"].get("offset", 0), p["pub"]["data"]) for p in pushes]


def token(user: str, ttl: int = 3600, **claims: Any) -> str:
    return mint(SECRET, user=user, issuer="tocsin", audience="tocsin", now=SystemClock().wall(), ttl=ttl, **claims)


def settings_for(url: str, keys: Keys, **changes: Any) -> GatewaySettings:
    namespaces = {"room": OPEN, "news": {"subscribe": "user", "history_size": 5}}
    fixed: dict[str, Any] = {"token_secret": SECRET, "namespaces": namespaces, "drain_seconds": 0.1}
    fixed["node_ttl"] = 600.0  # for nobody says again that it lives
    return GatewaySettings(redis_url=url, prefix=keys.prefix, partitions=keys.partitions, **(fixed | changes))


@asynccontextmanager
async def running_node(url: str, keys: Keys, **changes: Any) -> AsyncIterator[Node]:
    """A node that reads its stream, without its clock: tests tick it themselves. It says once that it lives, so for as
    long as a test may take."""
    settings = settings_for(url, keys, **changes)
    clock = SystemClock()
    topology = Topology(url, clock=clock)
    pipe = Pipe(topology, name="test", clock=clock)
    line = Pipe(topology, name="test-feed", clock=clock, timeout=BLOCK + COMMAND_TIMEOUT)
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[Any]] = set()

        def spawn(work: Coroutine[Any, Any, Any]) -> None:
            task = group.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        spawn(pipe.run())
        spawn(line.run())
        try:
            await pipe.wait_up(30)
            node = build(settings, clock, pipe, line, spawn)
            await node.heartbeat.beat()
            spawn(node.feed.run())
            yield node
        finally:
            for task in tuple(tasks):
                task.cancel()


class Producer:
    """What the fan-out worker does with an event, in two calls."""

    def __init__(self, pipe: Pipe, keys: Keys, kept: int = 5) -> None:
        self._pipe, self._keys, self._kept = pipe, keys, kept
        self._count = 0

    async def append(self, topic: str, data: Any) -> tuple[int, str, list[str]]:
        """Append to a topic's log; nobody is told."""
        self._count += 1
        keys, partition, ref = self._keys, self._keys.partition(topic), ref_of("test", f"e{self._count}")
        body = b'"data":' + orjson.dumps(data)
        names = [keys.body(partition, ref), keys.seen(partition, ref), keys.withdrawn(partition, ref)]
        names += [keys.lease(partition), keys.timers(partition), keys.counts(partition, ref), keys.log(topic)]
        args = [body, ref, 600, 600, 600, self._kept, f"epoch{self._count}", "notification", "on", "", "", "", 0]
        args += ["", 0, 20_000, "", "", 1, topic]
        _, [offset, epoch, _, *found] = await self._pipe.script("publish", names, args)
        return offset, epoch.decode(), [node.decode() for node in found]

    async def tell(self, node: str, topic: str, offset: int, epoch: str, data: Any) -> None:
        keys = self._keys
        body = b'"data":' + orjson.dumps(data)
        names = [keys.node_deliveries(node), keys.node_sequence(node), keys.node_alive(node)]
        if topic.startswith("@"):
            fields = ["k", "u", "u", orjson.dumps([[topic[1:], offset, epoch]]), "b", body]
        else:
            fields = ["k", "t", "t", topic, "o", offset, "ep", epoch, "b", body]
        await self._pipe.script("deliver", names, [1000, 60_000, *fields])

    async def publish(self, topic: str, data: Any) -> int:
        offset, epoch, nodes = await self.append(topic, data)
        for node in nodes:
            await self.tell(node, topic, offset, epoch, data)
        return offset

    async def notify(self, user: str, data: Any) -> int:
        return await self.publish(inbox_of(user), data)
