"""What the HTTP connections of a node share: whom they let in, how long they wait for a word, and in what line those
stand who come by thousands."""

from __future__ import annotations

import asyncio
import sys
from random import randint, random
from typing import Final, Protocol

from gateway.handshake import Refusal, Request, Upgrade, check
from gateway.limits import Herd, Room
from gateway.pace import Pace
from gateway.sweep import Sweep
from gateway.transport import Carrier
from gateway.websocket import WebSocketConnection

BODY_SECONDS: Final = 30.0
"""How long the body of a request may take."""
REQUESTS: Final = 0.002
"""Seconds of one turn for first requests, each of which has a task do several times as much in the next."""
MOST_WAITING: Final = 67_108_864
"""Bytes of heads, and of what came behind them, that may wait for their turn."""


class _Timed(Protocol):
    def out_of_time(self) -> None: ...


class Door:
    """`draining` refuses upgrades: the node is about to go."""

    __slots__ = (
        "bodies",
        "carrier",
        "connection",
        "draining",
        "header_bytes",
        "heads",
        "herd",
        "max_heads",
        "requests",
        "upgrades",
        "waiting",
    )

    def __init__(self, carrier: Carrier, connection: type[WebSocketConnection]) -> None:
        settings = carrier.service.settings
        self.carrier = carrier
        self.connection = connection
        self.header_bytes = settings.header_bytes
        self.max_heads = settings.max_unauthenticated
        """How many may be without a complete request at a time."""
        self.heads: Sweep[_Timed] = Sweep(settings.header_timeout, _end)
        self.bodies: Sweep[_Timed] = Sweep(BODY_SECONDS, _end)
        self.herd = Herd(settings.handshakes_per_second)
        self.upgrades = Pace(carrier.clock)
        """WebSocket handshakes."""
        self.requests = Pace(carrier.clock, budget=REQUESTS)
        """The first requests of all others: whoever asks whether we are ready does not wait for a herd of sockets."""
        self.waiting = Room(self.max_heads, MOST_WAITING)
        self.draining = False

    def check(self, request: Request, head: bytes, transport: asyncio.Transport) -> tuple[Upgrade, str] | Refusal:
        """Whether this handshake becomes a connection, and of which address, if addresses are limited."""
        upgrade = check(request, head)
        if isinstance(upgrade, Refusal):
            return upgrade
        service = self.carrier.service
        if not service.origin_allowed(upgrade.origin, upgrade.host):
            return Refusal(403, "pages of this origin may not connect")
        if self.draining:
            return Refusal(503, "this node is going away", b"Retry-After: 1\r\n")
        if service.isolated:
            return Refusal(503, "this node is cut off from Redis", b"Retry-After: 5\r\n")
        remote = remote_of(transport) if service.settings.connections_per_address else ""
        if not service.admit(remote):
            return Refusal(429, "too many connections", b"Retry-After: %d\r\n" % randint(2, 5))
        if not self.herd.admit(service.clock.monotonic()):
            service.turned_away()
            return Refusal(503, "too many come at once", b"Retry-After: %d\r\n" % self.herd.again(random()))
        return upgrade, remote


def _end(connection: _Timed) -> None:
    connection.out_of_time()


def remote_of(transport: asyncio.Transport) -> str:
    """The peer's address. Costs a system call and 300 bytes for as long as the transport lives, under uvloop."""
    peer = transport.get_extra_info("peername")
    return sys.intern(str(peer[0])) if peer else ""
