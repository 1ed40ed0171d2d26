"""What every handed-over connection has in common: it writes at once, holds a little back, and gives up on the slow.

A connection is one object with a few slots. Waiting bytes get an outbox only while the peer does not read, and a
connection that is being closed waits in a list that the whole node shares: no task, no queue, no timer of its own.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from bus.clock import Clock
from gateway.connection import Connection
from gateway.effects import Joined
from gateway.frames import FrameRules
from gateway.limits import Rate
from gateway.outbox import Outbox
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.sweep import Sweep
from gateway.wire.codes import CloseInfo, Disconnect
from gateway.wire.framing import Wire

HIGH_WATER: Final = 65_536
LOW_WATER: Final = 16_384
"""Bytes the transport may hold before writing pauses, and at which it goes on. Always set explicitly: uvloop's own
low-water mark is 16 bytes, so a connection would stay paused until its buffer is all but empty."""

CLOSE_SECONDS: Final = 5.0
"""How long a peer may take to let go of a connection that we end."""

CONTROL_RATE: Final = Rate(per_second=10, window=2.0)
"""WebSocket pings and pongs a client may send; SDKs send none, tools a few."""


class Application(Protocol):
    """What transports need of the service behind them. See `gateway.service.Service`."""

    settings: GatewaySettings
    clock: Clock
    isolated: bool
    """Nobody is taken in now, for nothing would reach them."""

    def opened(self, connection: Connection) -> None: ...
    def received(self, connection: Connection, message: bytes) -> None: ...
    def closed(self, connection: Connection, code: int = 0) -> None: ...
    def stalled(self, connection: Connection, stalled: bool) -> None: ...
    def admit(self, remote: str) -> bool: ...
    def turned_away(self) -> None: ...
    def origin_allowed(self, origin: str | None, host: str) -> bool: ...


class _Abortable(Protocol):
    def abort(self) -> None: ...


class Carrier:
    """What connections share, so that each needs but one reference to all of it."""

    __slots__ = ("clock", "closing", "control_rate", "outbox_bytes", "outbox_seconds", "rules", "service")

    def __init__(
        self, service: Application, rules: FrameRules | None = None, control_rate: Rate = CONTROL_RATE
    ) -> None:
        settings = service.settings
        self.service = service
        self.clock = service.clock
        self.outbox_bytes = settings.outbox_bytes
        self.outbox_seconds = settings.outbox_seconds
        self.rules = rules or FrameRules(settings.message_bytes)
        self.control_rate = control_rate
        self.closing: Sweep[_Abortable] = Sweep(CLOSE_SECONDS, lambda connection: connection.abort())
        """Connections that we are done with but whose peers are not."""


class SocketConnection(asyncio.Protocol):
    """The sending half of a connection over a transport of its own; see `gateway.connection.Connection`.

    A subclass says how it takes leave (`farewell`) and reads what its clients send, if they send anything.
    `Service.closed` is called once, from `connection_lost`, with the code that we closed with, 0 if the client went.
    """

    __slots__ = ("_carrier", "_code", "_outbox", "_transport", "remote", "session", "slot")

    wire: Wire
    session: Session
    remote: str
    _transport: asyncio.Transport

    def __init__(self, carrier: Carrier, remote: str = "") -> None:
        self.remote = remote
        self.slot = -1
        self._carrier = carrier
        self._code: int | None = None
        """None while open."""
        self._outbox: Outbox | None = None
        """Set while `write` must not go to the transport: it is paused, or the connection is at its end."""

    # For the service ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See `Connection.write`. `data` ends where a frame, chunk or line ends."""
        if self._outbox is None:
            self._transport.write(data)
        elif self._code is None:
            self._hold(self._outbox, data)

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        """See `Connection.offer`. Like the next two, a TypeError on wires whose messages are the same for everyone."""
        raise TypeError(f"{self.wire.name} takes ready bytes")

    def joined(self, topic: str, answer: Joined, resumed: bool) -> None:
        """See `Connection.joined`."""
        raise TypeError(f"{self.wire.name} takes ready bytes")

    def heartbeat(self) -> None:
        """See `Connection.heartbeat`."""
        raise TypeError(f"{self.wire.name} takes ready bytes")

    def close(self, disconnect: Disconnect) -> None:
        """See `Connection.close`."""
        if self._code is None:
            self._part(disconnect.value.code, self.farewell(disconnect.value))
            self._let_go()

    def overdue(self, now: float) -> bool:
        """See `Connection.overdue`."""
        if self._outbox is None or self._code is not None:
            return False
        return now - self._outbox.since > self._carrier.outbox_seconds

    # For subclasses ----------------------------------------------------------------------------------------------

    def farewell(self, why: CloseInfo) -> bytes:
        """The last bytes on this wire, which tell the client why."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """After the farewell was written: end the transport once it is out."""
        self._transport.close()

    def _part(self, code: int, last: bytes = b"") -> None:
        """Write the last bytes; nothing is written after them. What still waited is dropped, since the client will
        recover it, and the peer gets a few seconds before the transport is aborted."""
        self._code = code
        self._outbox = _SHUT
        self._carrier.closing.add(self)
        if last:
            self._transport.write(last)

    def abort(self) -> None:
        """Drop the transport at once, whatever is still unsent."""
        self._transport.abort()

    def _hold(self, outbox: Outbox, data: bytes) -> None:
        outbox.put(data, self._carrier.clock.monotonic())
        if outbox.size > self._carrier.outbox_bytes:
            self.close(Disconnect.SLOW)

    # For the event loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The transport is ours, and ready to be written to."""
        self._transport = transport
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._carrier.service.opened(self)

    def pause_writing(self) -> None:
        """The peer does not read. Then we do not read either: what it asks for could not be answered."""
        if self._code is not None:
            return
        if self._outbox is None:
            self._outbox = Outbox(self._carrier.clock.monotonic())
            self._transport.pause_reading()
            self._carrier.service.stalled(self, True)
        self._outbox.blocked = True

    def resume_writing(self) -> None:
        """The peer reads again. The transport gets only as much as it holds, so that ages stay known to us."""
        outbox = self._outbox
        if self._code is not None or outbox is None:
            return
        outbox.blocked = False
        while not outbox.blocked:  # `write` may set it again
            chunks = outbox.take(HIGH_WATER, self._carrier.clock.monotonic())
            if not chunks:
                self._outbox = None
                self._transport.resume_reading()
                self._carrier.service.stalled(self, False)
                return
            self._transport.write(b"".join(chunks))

    def eof_received(self) -> None:
        """The peer sends no more. Without it a session is over; the loop closes the transport."""
        if self._code is None:
            self._part(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._code = self._code or 0
        self._outbox = _SHUT
        self._carrier.closing.discard(self)
        self._carrier.service.closed(self, self._code)


_SHUT: Final = Outbox(0.0)
"""Stands for the outbox of every connection at its end; nothing is ever put into it."""
