"""A connection of which only what it is given counts."""

from __future__ import annotations

from gateway.pings import Pings
from gateway.wire.framing import Wire


class Listener:
    """Keeps what it is given."""

    def __init__(self, wire: Wire = Wire.WEBSOCKET) -> None:
        self.wire = wire
        self.session = Pings()
        self.written: list[bytes] = []
        self.offered: list[tuple[str, int, bytes]] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        self.offered.append((topic, offset, publication))
