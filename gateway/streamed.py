"""Responses that do not end: how they begin, and the connection that the SDKs' two fallbacks have over them.

Such a fallback is a stream down and single requests up (gateway/emulation.py); together they carry the same session
as a WebSocket. The stream is a chunked HTTP/1.1 response whose transport was handed over, so it costs no task.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from random import random
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.body import read_body
from gateway.api.problem import Kind, Refusal, unavailable
from gateway.endpoint import Backend
from gateway.handover import HandOver, protocol_of
from gateway.transport import Carrier, SocketConnection
from gateway.wire.codes import CloseInfo
from gateway.wire.framing import LAST_CHUNK, encode
from gateway.wire.replies import push_disconnect

STREAM_HEADERS: Final = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Transfer-Encoding": "chunked",
    # Its end is the end of the transport, which was taken from the HTTP server.
    "Connection": "close",
}


def refusal(request: Request, service: Backend) -> Refusal | None:
    """Why no stream can be given, or None."""
    if request.scope["http_version"] != "1.1":
        return Refusal(Kind.BAD_REQUEST, "streams need HTTP/1.1; behind nginx, set proxy_http_version 1.1")
    if (protocol := protocol_of(request.scope)) is None:
        return unavailable("this server cannot carry streams; connect by WebSocket")
    if not service.admit(remote_of(request, service)):
        return unavailable("no more connections can be taken now")
    herd = protocol.door.herd
    if not herd.admit(service.clock.monotonic()):
        service.turned_away()
        return unavailable("too many come at once", herd.again(random()))
    return None


def head(service: Backend, media_type: str) -> bytes:
    """The response head of a stream."""
    headers = {"Date": formatdate(service.clock.wall(), usegmt=True), "Content-Type": media_type, **STREAM_HEADERS}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "\r\n")).encode()


def remote_of(request: Request, service: Backend) -> str:
    """The peer's address where addresses are limited; else nobody needs it, and none is kept."""
    return request.client.host if request.client and service.settings.connections_per_address else ""


class EmulatedConnection(SocketConnection):
    """The stream of one client of a fallback; `commands` are its first message. What it may still send over the
    transport itself means nothing."""

    __slots__ = ("_commands",)

    preamble: ClassVar[bytes]
    """What comes before the first reply."""

    def __init__(self, carrier: Carrier, remote: str, commands: bytes) -> None:
        super().__init__(carrier, remote)
        self._commands = commands

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.preamble:
            self.write(self.preamble)
        commands, self._commands = self._commands, b""
        self._carrier.service.received(self, commands)

    def farewell(self, why: CloseInfo) -> bytes:
        return encode(self.wire, push_disconnect(why)) + LAST_CHUNK


class Emulation:
    """Opens the streams of one fallback."""

    def __init__(self, service: Backend, connection: type[EmulatedConnection], media_type: str) -> None:
        self._service, self._connection, self._media_type = service, connection, media_type
        self._carrier = Carrier(service)

    async def by_body(self, request: Request) -> Response | Refusal:
        """With the commands in the body of the request."""
        settings = self._service.settings
        body = await read_body(request, settings.message_bytes, settings.connect_timeout)
        return body if isinstance(body, Refusal) else self.open(request, body)

    def open(self, request: Request, commands: bytes) -> Response | Refusal:
        """With these commands."""
        if refused := refusal(request, self._service):
            return refused
        remote = remote_of(request, self._service)
        return HandOver(
            head(self._service, self._media_type), lambda _: self._connection(self._carrier, remote, commands)
        )
