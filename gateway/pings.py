"""Pings and what their pongs prove: that the client has read all that was written before the ping.

A client of the protocol answers each ping once it has handled what came before it. So a ping behind a notification asks
for a receipt that every SDK gives without knowing it. One ping is under way at a time; what is written meanwhile is
covered by the next. What a session acknowledges begins where it joined the inbox, never before. Pure.
"""

from __future__ import annotations

from typing import Final

from gateway.effects import Acked, Effect, Send
from gateway.wire.replies import PING

_NONE: Final = -1
SEND_PING: Final = Send(PING)


class Pings:
    """The pings of one session: four slots."""

    __slots__ = ("_asked", "_due", "_since", "_written")

    def __init__(self) -> None:
        self._asked = _NONE
        """Offset in the inbox that the ping under way covers."""
        self._due = False
        """Whether the ping under way was there at the time for one, so that it may become overdue."""
        self._since = 0
        """Up to here the inbox was acknowledged, or is none of this session's affair."""
        self._written = 0
        """Up to here it was written to the connection."""

    # Writing ---------------------------------------------------------------------------------------------------------

    def entered(self, since: int, at: int) -> bool:
        """It joined the inbox at offset `since`, and what follows up to `at` goes out with the news. True when a ping
        has to go out behind that."""
        self._since = since
        return at > since and self.wrote(at)

    def wrote(self, offset: int) -> bool:
        """The inbox up to `offset` goes out with this write. True when a ping has to go out behind it."""
        self._written = offset
        return self._send_one()

    def _send_one(self) -> bool:
        if self._asked != _NONE:
            return False
        self._asked = self._written
        return True

    # Time ------------------------------------------------------------------------------------------------------------

    def _ping_due(self) -> bool:
        """It is time for a ping. True when one has to go out, for one that is under way will do."""
        self._due = True
        return self._send_one()

    @property
    def _overdue(self) -> bool:
        """Whether the ping that was under way at the time for one still is."""
        return self._due

    # Answers ---------------------------------------------------------------------------------------------------------

    @property
    def _asked_for(self) -> bool:
        """Whether a pong is expected."""
        return self._asked != _NONE

    @property
    def unacknowledged(self) -> bool:
        """Whether notifications were written that no pong has acknowledged yet."""
        return self._written > self._since

    def _answered(self) -> tuple[Effect, ...]:
        """The pong came: what it acknowledges, and the next ping if more was written meanwhile."""
        first, to = self._since + 1, self._asked
        self._asked, self._due = _NONE, False
        acked: tuple[Effect, ...] = ()
        if first <= to:
            self._since = to
            acked = (Acked(first, to),)
        return (*acked, SEND_PING) if self._written > to and self._send_one() else acked

    def received(self, first: int, to: int) -> tuple[int, int] | None:
        """The part of `first` to `to` that was written to this connection and that no pong has acknowledged."""
        first, to = max(first, self._since + 1), min(to, self._written)
        return (first, to) if first <= to else None
