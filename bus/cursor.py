"""A place in a topic: the epoch of its log and an offset within it, and what of it still counts after a failover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MAX_OFFSET = 2**53 - 1
"""Largest offset a JavaScript client can hold exactly; anything above is nobody's cursor."""


@dataclass(frozen=True, slots=True, order=False)
class Cursor:
    """Epoch and offset. Two cursors can be compared only within one epoch."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read `epoch:offset`; None when it is not of that form, which a client's input often is not."""
        epoch, colon, digits = text.rpartition(":")
        if not colon or not epoch or not digits.isascii() or not digits.isdigit() or len(digits) > 16:
            return None
        offset = int(digits)
        return cls(epoch, offset) if offset <= MAX_OFFSET else None


Survived = Mapping[str, int]
"""Former epochs of a log, and up to which offset each still names what it named then."""
NONE_BEFORE: Final[Survived] = MappingProxyType({})


def read_survived(text: bytes) -> Survived:
    """What `bus/scripts/parts/position.lua` notes: `epoch offset epoch offset …`."""
    parts = text.decode().split()
    return dict(zip(parts[::2], map(int, parts[1::2]), strict=True)) if parts else NONE_BEFORE


def carried(cursor: Cursor, epoch: str, survived: Survived) -> Cursor | None:
    """The same place in the epoch that the log has now; None where nothing says that it is one.

    An epoch ends when a server comes that may have forgotten the newest entries. What it has kept stands at the same
    offsets as before; what lies above was lost, and others may have taken its place.
    """
    if cursor.epoch == epoch:
        return cursor
    return Cursor(epoch, cursor.offset) if cursor.offset <= survived.get(cursor.epoch, -1) else None
