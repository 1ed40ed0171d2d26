"""Peers that say exactly the bytes they are told to, and one whose only wish is to go on undisturbed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from secrets import token_hex
from typing import Any

import orjson
from websockets.frames import Opcode

from tests.faults.crowd import Person, eventually, gathered
from tests.faults.producers import Poster, Producer, behind, complaints, posting
from tests.gateway.echo import UPGRADE, Raw, masked
from tests.system import Gateway, System, token

HEALTHY = "room:healthy"
PATIENCE = 5.0
"""Longest silence a healthy client may meet, in seconds; an event is sent every 50 ms."""
TURN = 0.05
"""Seconds between two looks at the clock of a client."""


class Peer(Raw):
    """A WebSocket of the client protocol, in raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.upgraded = b""
        """The answer to its handshake."""
        self._id = 0
        self._lines: list[bytes] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, gateway: Gateway, head: bytes = UPGRADE) -> AsyncIterator[Peer]:
        """After the handshake."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # so that not reading is soon felt
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
        peer = cls(*await asyncio.open_connection(sock=sock))
        try:
            peer.upgraded = await peer.ask(head)
            assert peer.upgraded.startswith(b"HTTP/1.1 101 ")
            yield peer
        finally:
            peer.writer.transport.abort()
            await asyncio.sleep(0)  # only then is the socket closed

    @classmethod
    @asynccontextmanager
    async def connected(cls, gateway: Gateway, user: str, **claims: Any) -> AsyncIterator[Peer]:
        """After its `connect`."""
        async with cls.open(gateway) as peer:
            reply = await peer.command("connect", token=token(user, **claims))
            assert "connect" in reply, reply
            yield peer

    @asynccontextmanager
    async def not_reading(self) -> AsyncIterator[None]:
        """Leaves everything to the kernel during the block."""
        transport = self.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        yield
        if not transport.is_closing():
            transport.resume_reading()  # type: ignore[attr-defined]

    async def say(self, text: bytes | str) -> None:
        """One message."""
        await self.send(masked(text if isinstance(text, bytes) else text.encode()))

    async def command(self, method: str, /, **request: Any) -> Any:
        """A command's reply; pushes before it are passed over."""
        self._id += 1
        await self.say(orjson.dumps({"id": self._id, method: request}))
        while True:
            heard = await self.hear()
            if isinstance(heard, int) or heard.get("id") == self._id:
                return heard

    async def hear(self) -> Any:
        """The next object of the server that is no ping, or the code it closes with."""
        while True:
            if not self._lines:
                opcode, payload = await self.frame()
                if opcode == Opcode.CLOSE:
                    return int.from_bytes(payload[:2], "big")
                self._lines = payload.split(b"\n") if opcode == Opcode.TEXT else []
                continue
            line = self._lines.pop(0)
            if line != b"{}":
                return orjson.loads(line)
            await self.say("{}")


class Watcher(Person):
    """A person who notes when things come, in time of its own: it stands still while this process does not run, for
    that is a silence that no server is to blame for."""

    def take(self, channel: str, publication: dict[str, Any]) -> None:
        super().take(channel, publication)
        self.times.append(self.turns * TURN)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.times: list[float] = []
        self.turns = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wait())
            await super().run()

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(TURN)
            self.turns += 1

    async def served(self) -> None:
        """Until some more has come."""
        count = len(self.times)
        await eventually(lambda: len(self.times) > count + 3)


@asynccontextmanager
async def undisturbed(running: System) -> AsyncIterator[Watcher]:
    """A healthy client is served during the block, and notices nothing of what happens there."""
    gateway = running.gateways[0]
    healthy = Watcher("healthy", [HEALTHY], [gateway.port], Random(1))
    async with asyncio.timeout(150), posting() as http, gathered([healthy]):
        poster = Poster(http, [gateway.origin])
        producer = Producer(token_hex(4), ["healthy"], [HEALTHY], poster, Random(2))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(producer.run(stop))
            await healthy.served()
            yield healthy
            await healthy.served()
            stop.set()
        await eventually(lambda: not behind([producer], [healthy]))
        assert complaints([producer], [healthy]) == []
        assert healthy.faults == []
        assert healthy.closes == []
        assert set(poster.statuses) == {202}
        assert max(b - a for a, b in zip(healthy.times, healthy.times[1:], strict=False)) < PATIENCE


@asynccontextmanager
async def memory_of(gateway: Gateway, grows_less_than: int) -> AsyncIterator[None]:
    """Bounds what a gateway's memory grows by at any moment of the block, in bytes."""
    before = peak = gateway.resident()

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, gateway.resident())
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
    assert peak - before < grows_less_than, f"grew by {peak - before} bytes"
