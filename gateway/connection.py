"""What the gateway knows of one client's transport: four transports, one shape.

A transport calls `Service.opened` once it can write, `Service.received` for each message, and `Service.closed` once
when it is gone. The gateway answers by `write` and `close`, neither of which waits or raises.
"""

from __future__ import annotations

from typing import Protocol

from gateway.effects import Joined
from gateway.session import Session
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire


class Connection(Protocol):
    """One client. Implementations have `__slots__`, no task, no queue and no timer of their own."""

    wire: Wire
    session: Session
    remote: str
    """The peer's address, for limits; never logged."""
    slot: int
    """Its place in the node's timing wheel, kept by gateway/watch.py; -1: it has none."""

    def write(self, data: bytes) -> None:
        """Send bytes already encoded for `wire`; what the transport cannot take now waits in a bounded outbox, and
        a connection whose outbox runs over closes itself as slow."""

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        """Only for `Wire.EVENTS`: one publication (the inside of a JSON object), encoded for this connection alone."""

    def joined(self, topic: str, answer: Joined, resumed: bool) -> None:
        """Only for `Wire.EVENTS`: it listens to a topic from now on; `resumed` when it had named a cursor."""

    def heartbeat(self) -> None:
        """Only for `Wire.EVENTS`: something the client ignores, to keep the way open."""

    def close(self, disconnect: Disconnect) -> None:
        """End it, telling the client why in the transport's own way. A second call does nothing."""

    def overdue(self, now: float) -> bool:
        """Whether the oldest bytes in the outbox have waited too long at monotonic time `now`."""
