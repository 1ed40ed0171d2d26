"""A WebSocket after its handshake: text goes to the service, control frames are answered here.

Our own protocol beside a transport, because a connection then costs under 2 KB and a delivery one write (compare
25 KB and five coroutines for the way through an ASGI server).
"""

from __future__ import annotations

from typing import Final, assert_never

from gateway.frames import (
    Item,
    Message,
    Parser,
    PeerClose,
    Ping,
    Pong,
    Violation,
    close_frame,
    only_text,
    pong_frame,
)
from gateway.transport import Carrier, SocketConnection
from gateway.wire.codes import CloseInfo, Disconnect
from gateway.wire.framing import Wire

LATE: Final = 4_096
"""Frames that a client may still send after we closed: it said them before it heard so. Looking through more for its
close frame would let whoever floods us keep the loop busy for as long as it takes leave."""


class WebSocketConnection(SocketConnection):
    """One WebSocket client (RFC 6455), JSON in text messages.

    What closes it: a frame against the rules, 1002, 1007 or 1009; a binary message, 3506; too many control frames,
    3013; not reading, 3008; and whatever the service says.
    """

    __slots__ = ("_debt", "_late", "_parser")

    wire: Wire = Wire.WEBSOCKET

    def __init__(self, carrier: Carrier, remote: str = "") -> None:
        super().__init__(carrier, remote)
        self._debt = 0.0
        """Of `Carrier.control_rate`."""
        self._late = 0
        """Frames that came after we had closed."""
        self._parser: Parser | None = None
        """Only while a frame or message is incomplete, and once the peer's part is over."""

    def data_received(self, data: bytes) -> None:
        """Whole text messages, one a read, take the first way; all else the second."""
        if self._parser is None and self._code is None:
            message = only_text(data, self._carrier.rules.message_bytes)
            if message is not None:
                self._carrier.service.received(self, message)
                return
        parser = self._parser = self._parser or Parser(self._carrier.rules)
        for item in parser.feed(data):
            self._take(item)
        if parser.idle:
            self._parser = None

    def binary(self, payload: bytes) -> None:
        """A binary message. Ours is the JSON protocol; who sends binary speaks another, and need not come back."""
        self.close(Disconnect.INAPPROPRIATE_PROTOCOL)

    def farewell(self, why: CloseInfo) -> bytes:
        return close_frame(why.code, why.reason)

    def _let_go(self) -> None:
        """Wait for the peer's close frame (RFC 6455 §7.1.1), which reading may have been paused for."""
        self._transport.resume_reading()

    def _take(self, item: Item) -> None:
        if isinstance(item, PeerClose):
            self._answer_close(item.code)
        elif isinstance(item, Violation):
            self._fail(item.code, item.reason)
        elif self._code is None:
            self._serve(item)
        else:  # we have closed, and of all it may still send only its close counts
            self._late += 1
            if self._late > LATE:
                self.abort()

    def _serve(self, item: Message | Ping | Pong) -> None:
        match item:
            case Message(payload, binary=False):
                self._carrier.service.received(self, payload)
            case Message(payload):
                self.binary(payload)
            case Ping(payload):
                if self._affords():
                    self.write(pong_frame(payload))
            case Pong():
                self._affords()
            case _:
                assert_never(item)

    def _affords(self) -> bool:
        """Whether it may send one more control frame; if not, it is closed."""
        debt = self._carrier.control_rate.spend(self._debt, self._carrier.clock.monotonic())
        if debt is None:
            self.close(Disconnect.TOO_MANY_REQUESTS)
            return False
        self._debt = debt
        return True

    def _answer_close(self, code: int | None) -> None:
        """The peer's close: answered with its own code (§5.5.1) unless it is itself the answer. Then the server is
        the first to close the connection below (§7.1.1)."""
        if self._code is None:
            self._part(0, close_frame(code))
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (§7.1.7). Sending ends here, and what still comes is read and thrown away: to close
        with unread input would reset the connection and could destroy the close frame on its way."""
        if self._code is not None:
            self._transport.close()
            return
        self._part(code, close_frame(code, reason))
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
