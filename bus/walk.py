"""A walk: something to be done for many recipients of a partition, as it stands in the partition's `bulk` stream.

The entry names the event and nothing of its content: that is in the event's body in the same partition (its field `e`),
so a walk that goes on after the event was withdrawn finds nothing to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Follow:
    """Give the event to those who follow the topic and live in this partition. Fan-out writes it."""

    ref: str
    topic: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the event back from all who were given it in this partition. The gateway writes it, by withdraw.lua."""

    ref: str


Walk = Follow | Withdraw


def fields(walk: Walk) -> tuple[str, ...]:
    """Name, value, …, as XADD takes them; `from_fields` gives the walk back."""
    if isinstance(walk, Follow):
        return ("k", "follow", "e", walk.ref, "t", walk.topic)
    return ("k", "withdraw", "e", walk.ref)


def from_fields(found: Mapping[bytes, bytes]) -> Walk | None:
    """A walk from an entry; None where the entry is none."""
    try:
        kind, ref = found[b"k"], found[b"e"].decode()
        if kind == b"follow":
            return Follow(ref, found[b"t"].decode())
        return Withdraw(ref) if kind == b"withdraw" else None
    except (KeyError, UnicodeDecodeError):
        return None
