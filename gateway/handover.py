"""Where HTTP ends and our own connections begin: the first head of a connection is read here, a WebSocket upgrade is
answered at once, and everything else goes to uvicorn and the application, whose endpoints can hand over as well.

It is also the place for what uvicorn lacks: a deadline and a size for heads, a deadline for bodies, and an end to
connections that say nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.door import Door
from gateway.handshake import (
    BAD_HOST,
    MALFORMED,
    MAX_FIELDS,
    TOO_LARGE,
    Refusal,
    Request,
    has_bare_line_feed,
    is_host,
    read_request_line,
)
from gateway.pace import Pace
from gateway.transport import Application, Carrier
from gateway.websocket import WebSocketConnection

EXTENSION: Final = "tocsin.handover"
"""Where in `scope["extensions"]` an endpoint finds the protocol of its request."""
CROWDED: Final = Refusal(503, "too many come at once", b"Retry-After: 5\r\n")

Make = Callable[[asyncio.Transport], asyncio.Protocol]


class GatewayProtocol(HttpToolsProtocol):
    """One HTTP connection. Until its first head is complete and turns out not to be a WebSocket upgrade, nothing of
    uvicorn's part is set up, which is most of what an HTTP connection costs.

    Every head is read whole before anyone parses it, unless it is pipelined behind another request.
    """

    door: ClassVar[Door]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments = (config, server_state, app_state, _loop)
        self.connections = server_state.connections
        self._plain = False
        """Whether uvicorn's part is set up."""
        self._head = b""
        """The beginning of a head that is not all here yet."""
        self._reading = self._in_head = False
        """Whether a request is incomplete in the parser, and whether already its head is."""
        self._piped = 0
        """Bytes of a head that the parser holds."""
        self._refusal: Refusal | None = None
        self._refused = self._waiting = False
        """Whether it was refused, and whether what it said waits for its turn."""

    # Connection --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come; it must say something soon."""
        self.transport = transport
        if len(self.door.heads) >= self.door.max_heads:
            transport.abort()
            return
        self.connections.add(self)
        self.door.heads.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything go, so that nothing waits for the garbage collector."""
        self._forget()
        if self._plain:
            super().connection_lost(exc)
            self.scope = self.cycle = None  # type: ignore[assignment]

    def shutdown(self) -> None:
        """uvicorn's last word to each connection."""
        if self._plain and not self._refused:
            super().shutdown()
        else:
            self.transport.close()

    def abort(self) -> None:
        """Drop the transport at once."""
        self.transport.abort()

    def out_of_time(self) -> None:
        """A head or body did not come in time; a client that said nothing is told nothing."""
        if self._waiting:
            self._turn_away()
        elif self._head or self._reading:
            self._refuse(Refusal(408, "the request did not come in time"))
        else:
            self.transport.close()

    # Heads -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A head while no request is under way, else what belongs to that request or is pipelined behind it."""
        if self._refused:
            return
        if self._plain and (self._reading or not (self.cycle is None or self.cycle.response_complete)):
            self._feed(data)
        else:
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        if self._head:
            data = self._head + data
        elif self._plain:
            self._unset_keepalive_if_required()
            self.door.heads.add(self)
        end = data.find(b"\r\n\r\n") + 4
        if end > self.door.header_bytes or (end < 4 and len(data) > self.door.header_bytes):
            self._refuse(TOO_LARGE)
        elif end < 4:
            self._head = data
            if has_bare_line_feed(data):
                self._refuse(MALFORMED)
        else:
            self._head = b""
            request = read_request_line(data)
            if request is not None:
                self._enter(self.door.upgrades, partial(self._upgrade, request, end), data)
            elif self._plain:
                self._feed(data)
            else:
                self._enter(self.door.requests, self._feed, data)

    def _enter(self, pace: Pace, step: Callable[[bytes], None], data: bytes) -> None:
        """Go on with what was said when its turn comes; until then nothing more is read."""
        if pace.free:
            pace.enter(step, data)
        elif self.door.waiting.take(len(data)):
            self._waiting = True
            self.transport.pause_reading()
            pace.enter(self._go_on, step, data)
        else:
            self._turn_away()

    def _turn_away(self) -> None:
        self.door.carrier.service.turned_away()
        self._refuse(CROWDED)

    def _go_on(self, step: Callable[[bytes], None], data: bytes) -> None:
        self.door.waiting.release(len(data))
        if self._listen():
            step(data)

    def _listen(self) -> bool:
        """Read again; whether this was waited for."""
        if not self._waiting or self.transport.is_closing():
            return False
        self._waiting = False
        self.transport.resume_reading()
        return True

    def _upgrade(self, request: Request, end: int, data: bytes) -> None:
        """Our own path: a WebSocket or a refusal. Frames that came behind the head are its first."""
        verdict = self.door.check(request, data[:end], self.transport)
        if isinstance(verdict, Refusal):
            self._refuse(verdict)
            return
        upgrade, remote = verdict
        connection = self.door.connection(self.door.carrier, remote)
        if self.hand_over(upgrade.response, lambda _: connection) and data[end:]:
            connection.data_received(data[end:])

    def hand_over(self, head: bytes, make: Make) -> bool:
        """Write `head` and give the transport to the protocol that `make` returns, from this very step on. Nothing
        of this connection's HTTP part stays behind. False, and neither is done, if the client has already gone."""
        transport = self.transport
        self._forget()
        self._clear()
        if transport.is_closing():
            return False
        transport.write(head)
        protocol = make(transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return True

    def _forget(self) -> None:
        """Leave every list of the node and of uvicorn."""
        self.connections.discard(self)
        self.door.heads.discard(self)
        self.door.bodies.discard(self)
        self.door.carrier.closing.discard(self)

    def _clear(self) -> None:
        """End uvicorn's part without touching the transport: its cycle thinks that the response is out."""
        if not self._plain:
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.cycle is not None:
            self.cycle.response_started = self.cycle.response_complete = self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.pipeline.clear()
        self.parser = self.scope = self.headers = self.cycle = self.flow = None  # type: ignore[assignment]

    # Plain HTTP: uvicorn's part, with limits ---------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if not self._plain:
            self._become_plain()
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._piped += len(data)
            if self._piped > self.door.header_bytes:
                self._refuse(TOO_LARGE)

    def _become_plain(self) -> None:
        transport = self.transport
        super().__init__(*self._arguments)
        super().connection_made(transport)
        self.access_log = False  # it has query strings, which may be tickets, and addresses
        self._plain = True

    def _should_upgrade(self) -> bool:
        """Never: upgrades for our path do not come this far, and for others they are ordinary requests."""
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Not worth a line in the log; but after it the parser takes nothing more, so this request is the last."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = self._in_head = True
        self._piped = 0
        self.door.heads.add(self)

    def on_headers_complete(self) -> None:
        self._refusal = self._head_fault()
        if self._refusal is not None:
            raise ValueError(self._refusal.detail)  # the parser stops, and `send_400_response` answers
        self._in_head = False
        self.door.heads.discard(self)
        self.door.bodies.add(self)
        self.scope["extensions"] = {EXTENSION: {"protocol": self}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading = False
        self.door.bodies.discard(self)
        super().on_message_complete()

    def _head_fault(self) -> Refusal | None:
        """Limits on what the parser took, and the rule of one Host (RFC 9112 §3.2)."""
        size = sum(len(name) + len(value) for name, value in self.headers) + 4 * len(self.headers)
        if len(self.headers) > MAX_FIELDS or len(self.url) + size > self.door.header_bytes:
            return TOO_LARGE
        hosts = [value for name, value in self.headers if name == b"host"]
        if hosts or self.parser.get_http_version() != "1.0":
            return None if len(hosts) == 1 and is_host(hosts[0]) else BAD_HOST
        return None

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what the parser refuses."""
        self._refuse(self._refusal or MALFORMED)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and end the connection. What the client still sends is read and thrown away for some seconds: to
        close with unread input would reset the connection and could destroy the answer on its way."""
        self._forget()
        self._listen()
        self._refused = True
        self._head = b""
        self.door.carrier.closing.add(self)
        if self._plain and self._ends_another():
            self.transport.close()
            return
        self.transport.write(refusal.response())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _ends_another(self) -> bool:
        """End the request under way, if there is one. Whether a refusal would be taken for a part of its answer."""
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle.response_started or self._in_head


class HandOver(Response):
    """A response that answers with `head` and then hands the transport over to a protocol of its own.

    `head` is a whole response head. Fields set on `headers` afterwards, by middleware say, are added to it. `make`
    gets the transport and returns the protocol, whose `connection_made` is then called; it is not called if the
    client has gone. Works only below `gateway_protocol`; raises RuntimeError under any other server.
    """

    def __init__(self, head: bytes, make: Make) -> None:
        self.status_code = int(head[9:12])
        self.raw_headers = []
        self.background = None
        self.body = b""
        self._head = head.removesuffix(b"\r\n\r\n")
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        protocol = protocol_of(scope)
        if protocol is None:
            raise RuntimeError("this server cannot hand its transports over")
        lines = [self._head, *(name + b": " + value for name, value in self.raw_headers)]
        protocol.hand_over(b"\r\n".join(lines) + b"\r\n\r\n", self._make)


def protocol_of(scope: Scope) -> GatewayProtocol | None:
    """The protocol that carries a request; None under other servers, where transports cannot be handed over."""
    found: GatewayProtocol | None = scope.get("extensions", {}).get(EXTENSION, {}).get("protocol")
    return found


def gateway_protocol(
    service: Application,
    *,
    connection: type[WebSocketConnection] = WebSocketConnection,
    carrier: Carrier | None = None,
) -> type[GatewayProtocol]:
    """The class to give to uvicorn as `Config(http=…)`; one for each node."""
    entrance = Door(carrier or Carrier(service), connection)

    class NodeProtocol(GatewayProtocol):
        door = entrance

    return NodeProtocol
