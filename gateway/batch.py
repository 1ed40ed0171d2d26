"""What a flush gives to the listeners of a topic: made once, encoded at most once per wire, one write for each.

Behind what goes to an inbox goes a ping, whose pong is the receipt. Pure: connections are written to, never awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus.keys import INBOX
from gateway.connection import Connection
from gateway.wire.framing import Wire, encode
from gateway.wire.replies import PING, channel_of, push_publication

PINGS: Final = tuple(encode(wire, PING) for wire in (Wire.WEBSOCKET, Wire.SSE, Wire.STREAM))
"""A ping as it goes out on each wire that has some."""

Publication = tuple[int, bytes]
"""Offset (0: it has no place in history) and the inside of a JSON object."""


class Batch:
    """What the listeners of one topic are given together."""

    __slots__ = ("_encoded", "epoch", "members", "pending", "pushes", "receipt", "topic")

    def __init__(
        self,
        topic: str,
        epoch: str | None,
        pending: Sequence[Publication],
        pushes: Sequence[bytes],
        members: Sequence[Connection],
    ) -> None:
        self.topic, self.epoch = topic, epoch
        self.pending, self.pushes, self.members = pending, pushes, members
        """What goes out, first what has a place in history; and to whom."""
        self.receipt = max([at for at, _ in pending]) if pending and topic.startswith(INBOX) else 0
        """Offset up to which a receipt is wanted from each listener; 0: none is."""
        self._encoded: list[bytes | None] = [None, None, None]

    def encoded(self, wire: Wire) -> bytes:
        """All of it for one wire."""
        data = self._encoded[wire]
        if data is None:
            channel = channel_of(self.topic)
            frames = [encode(wire, push_publication(channel, body, offset)) for offset, body in self.pending]
            frames += [encode(wire, push) for push in self.pushes]
            data = self._encoded[wire] = b"".join(frames)
        return data

    def give(self, member: Connection) -> None:
        """To one listener."""
        if member.wire is Wire.EVENTS:
            for offset, body in self.pending:
                member.offer(self.topic, offset, body)
        else:
            member.write(self.encoded(member.wire))


def write_joined(member: Connection, batches: Sequence[Batch]) -> None:
    """Several, to one that listens to all of them, in one write."""
    if member.wire is Wire.EVENTS:
        for batch in batches:
            batch.give(member)
    else:
        joined = [batch.encoded(member.wire) for batch in batches]
        receipt = max([batch.receipt for batch in batches])
        if receipt and member.session.wrote(receipt):
            joined.append(PINGS[member.wire])
        member.write(b"".join(joined))


def write_with_pings(batch: Batch, members: Sequence[Connection]) -> None:
    """To the few who share an inbox: those who have no ping to answer yet get one behind it, in the same write."""
    for member in members:
        wire = member.wire
        if wire is not Wire.EVENTS and member.session.wrote(batch.receipt):
            member.write(batch.encoded(wire) + PINGS[wire])
        else:
            batch.give(member)


def write_all(batch: Batch, members: Sequence[Connection]) -> None:
    """The innermost loop of the system: nothing here but the write."""
    websocket = Wire.WEBSOCKET  # to name a member of an Enum costs as much as a tenth of the write (Python 3.11)
    frames = batch.encoded(websocket)
    for member in members:
        if member.wire is websocket:
            member.write(frames)
        else:
            batch.give(member)


def in_several(batches: Sequence[Batch]) -> set[Connection]:
    """Connections that more than one batch is for."""
    if len(batches) < 2:
        return set()
    once: set[Connection] = set()
    several: set[Connection] = set()
    for batch in batches:
        members = set(batch.members)
        several |= once & members
        once |= members
    return several
