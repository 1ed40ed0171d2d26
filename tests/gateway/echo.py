"""The smallest application behind our transports, a server for it, and clients that speak in raw bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from bus.clock import SystemClock
from gateway.connection import Connection
from gateway.frames import BINARY, FrameRules
from gateway.handover import GatewayProtocol, gateway_protocol
from gateway.limits import Rate
from gateway.settings import GatewaySettings
from gateway.transport import Carrier
from gateway.websocket import WebSocketConnection
from gateway.wire.framing import websocket_text

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class Echo:
    """Sends each message back, and notes what its transports say."""

    settings: GatewaySettings = field(default_factory=GatewaySettings)
    clock: SystemClock = field(default_factory=SystemClock)
    connections: list[Connection] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    stalls: list[bool] = field(default_factory=list)
    admits: bool = True
    isolated: bool = False
    sent_away: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.changed.set()

    def received(self, connection: Connection, message: bytes) -> None:
        self.messages.append(message)
        connection.write(websocket_text(message))
        self.changed.set()

    def closed(self, connection: Connection, code: int = 0) -> None:
        self.connections.remove(connection)
        self.codes.append(code)
        self.changed.set()

    def stalled(self, connection: Connection, stalled: bool) -> None:
        self.stalls.append(stalled)
        self.changed.set()

    def turned_away(self) -> None:
        self.sent_away += 1

    def admit(self, remote: str) -> bool:
        return self.admits

    def origin_allowed(self, origin: str | None, host: str) -> bool:
        return origin in (None, f"https://{host}")

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that only transports' calls can bring about."""
        async with asyncio.timeout(30):
            while not (found := condition()):
                self.changed.clear()
                await self.changed.wait()
        return found


class EchoConnection(WebSocketConnection):
    """Echoes binary messages too, which the product refuses."""

    __slots__ = ()

    def binary(self, payload: bytes) -> None:
        length = len(payload)
        head = bytes((0x80 | BINARY, 127)) + length.to_bytes(8, "big")
        if length < 126:
            head = bytes((0x80 | BINARY, length))
        elif length < 65_536:
            head = bytes((0x80 | BINARY, 126)) + length.to_bytes(2, "big")
        self.write(head + payload)


GENEROUS = FrameRules(message_bytes=1 << 25, fragments=1 << 20)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Plain HTTP beside: answers with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message.get("more_body", False)
    body = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Served:
    """A server on a free port of this machine."""

    port: int
    protocol: type[GatewayProtocol]
    state: ServerState
    clients: list[Raw] = field(default_factory=list)

    async def client(self, sock: socket.socket | None = None) -> Raw:
        """Dropped at the end, if it does not go by itself. `sock`: one connected already."""
        where = {"sock": sock} if sock else {"host": "127.0.0.1", "port": self.port}
        self.clients.append(Raw(*await asyncio.open_connection(**where)))
        return self.clients[-1]

    async def empty(self) -> None:
        """Wait until uvicorn has no connection."""
        async with asyncio.timeout(30):
            while self.state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)

    async def websocket(self) -> Raw:
        """A client whose handshake is done."""
        raw = await self.client()
        assert (await raw.ask(UPGRADE)).startswith(b"HTTP/1.1 101 ")
        return raw


@asynccontextmanager
async def serving(
    service: Echo,
    application: Any = app,
    *,
    connection: type[WebSocketConnection] = WebSocketConnection,
    rules: FrameRules | None = None,
    control_rate: Rate | None = None,
) -> AsyncIterator[Served]:
    """uvicorn's protocol with our part, without its process handling. At the end nothing may be left open."""
    carrier = Carrier(service, rules, *([control_rate] if control_rate else []))
    protocol = gateway_protocol(service, connection=connection, carrier=carrier)
    config = uvicorn.Config(application, http=protocol, ws="none", log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    served = Served(server.sockets[0].getsockname()[1], protocol, state)
    try:
        yield served
    finally:
        server.close()
        for client in served.clients:
            client.writer.transport.abort()
        for one in (*service.connections, *state.connections):
            one.abort()
        await service.until(lambda: not service.connections)
        await served.empty()


class Raw:
    """A client that says exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, data: bytes, *, seconds: float) -> None:
        """Send it again and again. Raises TimeoutError at the end of the time, or what ends the connection."""
        async with asyncio.timeout(seconds):
            while True:
                await self.send(data)
                await asyncio.sleep(0)

    async def ask(self, data: bytes) -> bytes:
        """Send a request and read one response head."""
        await self.send(data)
        return await self.head()

    async def head(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload. It must be whole and unmasked."""
        async with asyncio.timeout(30):
            first, length = await self.reader.readexactly(2)
            if length > 125:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
            assert first & 0x80
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """Read up to the server's close frame and the end that follows: its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection."""
        async with asyncio.timeout(30):
            return await self.reader.read()

    def go(self) -> None:
        """Leave without a word."""
        self.writer.close()


def masked(payload: bytes, opcode: int = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)
