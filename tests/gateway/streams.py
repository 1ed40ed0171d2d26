"""A node behind a real socket, and clients of its streams that read every byte as HTTP and HTML define it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import orjson
import uvicorn
from starlette.applications import Starlette

from bus.keys import Keys
from gateway import asgi, emulation, events_stream, http_stream, sse
from gateway.handover import gateway_protocol
from gateway.node import Node
from tests.gateway.eventsource_reader import GRAMMAR, Browser, Received
from tests.gateway.stand import running_node, token

CONNECT = "cf_connect="


def app_of(node: Node) -> Starlette:
    parts = (sse, http_stream, emulation, events_stream, asgi)
    return Starlette(routes=[route for part in parts for route in part.routes(node.service)])


@asynccontextmanager
async def listening(app: Starlette, **options: Any) -> AsyncIterator[int]:
    """A uvicorn server within the test; the port it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", **options))
        async with asyncio.TaskGroup() as group:
            group.create_task(server._serve([sock]))
            await eventually(lambda: server.started)
            try:
                yield sock.getsockname()[1]
            finally:
                server.should_exit = True


@asynccontextmanager
async def serving(url: str, keys: Keys, **changes: Any) -> AsyncIterator[tuple[Node, int]]:
    """A whole node with all of its fallback transports; and that nothing of them is left behind."""
    async with asyncio.timeout(90), running_node(url, keys, **changes) as node:
        async with listening(app_of(node), http=gateway_protocol(node.service)) as port:
            yield node, port
            await node.service.drain()
        # A topic goes when the answer to its last join comes, also where nobody waits for that any more.
        await eventually(lambda: not (node.stats.connections or node.service.hub.topics))
        assert node.stats.authenticated == 0
        assert node.stats.stalled == 0


class Stream:
    """An HTTP response that goes on. Use `async with Stream.get(port, path) as stream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        """What came, without the framing of chunks."""
        self.ended = False
        """Whether the last chunk came, and not just the end of the connection."""
        self.browser = Browser()
        self._lines = 0
        self._read = 0

    @classmethod
    @asynccontextmanager
    async def request(cls, port: int, request: bytes) -> AsyncIterator[Stream]:
        """Send these bytes, and read the head of the answer."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(sock=await _socket(port))
            writer.write(request)
            stream = cls(reader, writer)
            await stream._read_head()
        try:
            yield stream
        finally:
            writer.close()

    @classmethod
    def get(cls, port: int, target: str, **headers: str) -> Any:
        return cls.request(port, request("GET", port, target, b"", **headers))

    @classmethod
    def post(cls, port: int, target: str, body: bytes, **headers: str) -> Any:
        return cls.request(port, request("POST", port, target, body, **headers))

    async def _read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in self.headers, f"{name} comes twice"
            self.headers[name.lower()] = value

    async def more(self) -> bool:
        """Read one chunk; False at the end."""
        async with asyncio.timeout(30):
            size = await self._reader.readline()
            if not size:
                return False
            assert re.fullmatch(rb"[0-9a-f]+\r\n", size)
            data = await self._reader.readexactly(int(size, 16) + 2)
            assert data.endswith(b"\r\n")
        if int(size, 16) == 0:
            self.ended = True
            assert await self._reader.read() == b""
            return False
        self.body += data[:-2]
        return True

    async def rest(self) -> bytes:
        """The body to its end: of a stream, or of an ordinary answer."""
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        while await self.more():
            pass
        return self.body

    async def problem(self) -> dict[str, Any]:
        """The answer as a problem (RFC 9457)."""
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = orjson.loads(await self.rest())
        assert problem["status"] == self.status
        return problem

    # As an event stream

    async def event(self, kind: str = "message") -> Received:
        """The next event of this type; others are passed over."""
        while True:
            while self._read < len(self.browser.events):
                self._read += 1
                if (event := self.browser.events[self._read - 1]).type == kind:
                    return event
            before = len(self.body)
            assert await self.more(), f"the stream ended without a {kind}"
            new = self.body[before:]
            assert GRAMMAR.fullmatch(new.decode().replace("\r\n", "\n")), "a chunk is not made of whole events"
            self.browser.feed(new)

    async def data(self, kind: str = "message") -> Any:
        return orjson.loads((await self.event(kind)).data)

    # As lines of JSON

    async def line(self) -> Any:
        """The next line."""
        while self.body.count(b"\n") == self._lines:
            assert await self.more(), "the stream ended"
        self._lines += 1
        return orjson.loads(self.body.split(b"\n")[self._lines - 1])


async def _socket(port: int) -> socket.socket:
    """A connected socket with a small buffer, so that a client that does not read is soon seen not to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


def request(method: str, port: int, target: str, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP/1.1 request; `_` in header names stands for `-`."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join((*lines, "\r\n")).encode("latin-1") + body


def commands(*commands: dict[str, Any]) -> bytes:
    return b"\n".join(orjson.dumps(command) for command in commands)


def connecting(user: str, *more: dict[str, Any], **fields: Any) -> bytes:
    return commands({"id": 1, "connect": {"token": token(user), **fields}}, *more)


def cf_connect(user: str, *more: dict[str, Any], **fields: Any) -> str:
    return "/connection/sse?cf_connect=" + quote(connecting(user, *more, **fields))


async def say(port: int, connected: dict[str, Any], *said: dict[str, Any]) -> int:
    """POST commands to /emulation, as an SDK does; the status."""
    body = {"session": connected["session"], "node": connected["node"], "data": commands(*said).decode()}
    async with Stream.post(port, "/emulation", orjson.dumps(body), Content_Type="application/json") as answer:
        return int(answer.status)


async def eventually(true: Callable[[], object]) -> None:
    """Until a condition holds that nothing announces."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
