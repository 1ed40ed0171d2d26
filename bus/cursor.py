"""A place in a topic: the epoch of its log and an offset within it."""

from __future__ import annotations

from dataclasses import dataclass

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
