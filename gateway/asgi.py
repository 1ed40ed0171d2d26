"""The same sessions over any ASGI server's WebSocket: portable, at the cost of a task per connection.

Under our own server the upgrade never gets here (gateway/handover.py); elsewhere this is the way in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from gateway.api.problem import Kind, Refusal, unavailable
from gateway.effects import Joined
from gateway.frames import TOO_BIG
from gateway.outbox import Outbox
from gateway.session import Session
from gateway.transport import Application
from gateway.wire.codes import CloseInfo, Disconnect
from gateway.wire.framing import Wire

JSON_PROTOCOL: Final = "centrifuge-json"
BATCH: Final = 65_536
"""Most bytes that are joined to one message, if it is more than one reply."""
CLOSE_SECONDS: Final = 1.0
"""How long a close frame may take to be written; the server's own closing comes after."""
TOO_BIG_CLOSE: Final = CloseInfo(TOO_BIG, "message too big")


def payloads(frames: bytes) -> Iterator[bytes]:
    """The payloads of joined text frames as `gateway.wire.framing.websocket_text` makes them."""
    at = 0
    while at < len(frames):
        size, at = frames[at + 1], at + 2
        if size > 125:
            extended = 2 if size == 126 else 8
            size, at = int.from_bytes(frames[at : at + extended], "big"), at + extended
        yield frames[at : at + size]
        at += size


class AsgiConnection:
    """One client. The endpoint's own task writes, a task beside it reads."""

    __slots__ = ("_closing", "_gone", "_outbox", "_patience", "_ready", "_sending", "_service", "_stalled",
                 "_websocket", "remote", "session", "slot", "wire")  # fmt: skip

    session: Session

    def __init__(self, websocket: WebSocket, service: Application) -> None:
        self.wire = Wire.WEBSOCKET
        self.remote = websocket.client.host if websocket.client else ""
        self.slot = -1
        self._websocket, self._service = websocket, service
        self._outbox: Outbox | None = None
        self._sending = self._stalled = False
        self._ready = asyncio.Event()
        self._patience = asyncio.timeout(None)
        self._closing: CloseInfo | None = None
        self._gone = False

    # What the service calls ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._over:
            return
        now = self._service.clock.monotonic()
        if self._outbox is None:
            self._outbox = Outbox(now)
            self._ready.set()
        elif self._sending and not self._stalled:
            self._stalled = True
            self._service.stalled(self, True)
        self._outbox.put(data, now)
        if self._outbox.size > self._service.settings.outbox_bytes:
            self.close(Disconnect.SLOW)

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        raise TypeError("a WebSocket takes ready bytes")

    def joined(self, topic: str, answer: Joined, resumed: bool) -> None:
        raise TypeError("a WebSocket takes ready bytes")

    def heartbeat(self) -> None:
        raise TypeError("a WebSocket takes ready bytes")

    def close(self, disconnect: Disconnect) -> None:
        self._end(disconnect.value)

    def overdue(self, now: float) -> bool:
        waiting = self._outbox
        return waiting is not None and now - waiting.since > self._service.settings.outbox_seconds

    def _end(self, why: CloseInfo) -> None:
        if self._over:
            return
        self._closing = why
        self._stop(0.0 if why is Disconnect.SLOW.value else CLOSE_SECONDS)

    def _stop(self, patience: float) -> None:
        self._ready.set()
        self._patience.reschedule(asyncio.get_running_loop().time() + patience)

    @property
    def _over(self) -> bool:
        return self._gone or self._closing is not None

    # The two loops ---------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """From the accepted handshake to the end."""
        try:
            async with self._patience, asyncio.TaskGroup() as group:
                self._service.opened(self)
                reading = group.create_task(self._read())
                await self._write()
                reading.cancel()
        except TimeoutError:
            pass  # what waited was not taken in time: it is dropped
        finally:
            self._service.closed(self, self._closing.code if self._closing else 0)
        if self._closing is not None and not self._gone:
            await self._say(self._closing)

    async def _read(self) -> None:
        limit = self._service.settings.message_bytes
        while not self._over:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                self._stop(0.0)
                return
            text = message.get("text")
            if text is None:
                self.close(Disconnect.INAPPROPRIATE_PROTOCOL)
            elif len(data := text.encode()) > limit:
                self._end(TOO_BIG_CLOSE)
            else:
                self._service.received(self, data)

    async def _write(self) -> None:
        """Send what waits until the connection is over, and then what was said before its end."""
        try:
            while not self._gone and (self._closing is None or self._outbox is not None):
                await self._ready.wait()
                self._ready.clear()
                await self._send_all()
        except (WebSocketDisconnect, WebSocketDisconnected):
            self._gone = True

    async def _send_all(self) -> None:
        while self._outbox is not None and not self._gone:
            chunks = self._outbox.take(BATCH, self._service.clock.monotonic())
            if not chunks:
                break
            self._sending = True
            await self._websocket.send_text(b"\n".join([p for chunk in chunks for p in payloads(chunk)]).decode())
            self._sending = False
        self._outbox = None
        if self._stalled:
            self._stalled = False
            self._service.stalled(self, False)

    async def _say(self, why: CloseInfo) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(why.code, why.reason)
        except (TimeoutError, WebSocketDisconnect, WebSocketDisconnected):
            return


def routes(service: Application) -> list[WebSocketRoute]:
    """`/connection/websocket` for servers that know nothing of handing a transport over."""

    async def endpoint(websocket: WebSocket) -> None:
        if (refusal := _refusal(websocket, service)) is not None:
            await _refuse(websocket, refusal)
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(JSON_PROTOCOL if JSON_PROTOCOL in offered else None)
        await AsgiConnection(websocket, service).serve()

    return [WebSocketRoute("/connection/websocket", endpoint)]


def _refusal(websocket: WebSocket, service: Application) -> Refusal | None:
    if not service.origin_allowed(websocket.headers.get("origin"), websocket.headers.get("host", "")):
        return Refusal(Kind.FORBIDDEN, "this origin is not allowed")
    if not service.admit(websocket.client.host if websocket.client else ""):
        return unavailable("no more connections can be taken now")
    return None


async def _refuse(websocket: WebSocket, refusal: Refusal) -> None:
    """With its status where the server can send one, else as a closed handshake."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(refusal.response())
    else:
        await websocket.close()
