"""A job: one delivery that the senders of a channel are to make, as it stands in a stream. Pure.

It says about whom and which event, never with what words or at which address: those are read when it is worked, so
that what changed meanwhile counts, and nothing private waits in a queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import orjson

from bus.event import CONDITIONS

CHANNELS: Final = ("push", "email", "sms", "webhook")
"""Channels that are worked by senders; live is none of them."""


class Kind(StrEnum):
    """What the senders are to do."""

    SEND = "send"
    DIGEST = "digest"
    """Send several events as one message."""
    WITHDRAW = "withdraw"
    """Put nothing in the place of a push that was sent."""


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery: event (or digest) × person × channel × target."""

    id: str
    """32 hex digits, see `delivery_id`: the idempotency key."""
    ref: str
    """The event, or the newest one of a digest."""
    user: str
    offset: int = 0
    """Where it stands in the person's inbox; 0: nowhere, so it is never acked or read."""
    step: int = 0
    """Index in the event's ladder."""
    unless: str | None = None
    """acked or read: what makes it unnecessary; None: nothing does."""
    target: str = ""
    """Id of the device of a push; elsewhere empty, for the contact is looked up when it is sent."""
    attempts: int = 0
    """How many were made and counted."""
    kind: Kind = Kind.SEND
    refs: tuple[str, ...] = ()
    """All events of a digest, oldest first."""
    category: str = ""
    expires_at: float | None = None
    """Unix time in seconds (exact to the millisecond) from which on nobody wants it; None: never."""

    def fields(self) -> tuple[str, ...]:
        """Name, value, name, value, …, as XADD takes them; `from_fields` gives the job back."""
        flat = (
            *("id", self.id, "e", self.ref, "u", self.user, "o", str(self.offset), "i", str(self.step)),
            *("x", self.unless or "", "t", self.target, "n", str(self.attempts), "k", self.kind.value),
            *("g", self.category, "x2", str(0 if self.expires_at is None else round(self.expires_at * 1000))),
        )
        return (*flat, "r", orjson.dumps(self.refs).decode()) if self.refs else flat


def delivery_id(ref: str, user: str, channel: str, target: str = "", kind: Kind = Kind.SEND, *, step: int = 0) -> str:
    """The id of a delivery, the same however often it is made: 128 bits of BLAKE2b (RFC 7693) in hex.

    What takes a push back is another delivery than the push; so is a second step by the same channel, which a receiver
    that knows ids must not take for a repeat of the first.
    """
    parts: tuple[str, ...] = (ref, user, channel, target)
    if kind is not Kind.SEND:
        parts += (kind.value,)
    if step:
        parts += (str(step),)
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def digest_id(refs: Sequence[str], user: str, channel: str, target: str = "") -> str:
    """The id of a digest: that of what it holds."""
    return delivery_id("\n".join(refs), user, channel, target, Kind.DIGEST)


def from_fields(fields: Mapping[bytes, bytes]) -> Job | None:
    """A job from an entry of a `jobs` stream; None where the entry is no job."""
    try:
        expires = int(fields[b"x2"])
        return Job(
            id=fields[b"id"].decode(),
            ref=fields[b"e"].decode(),
            user=fields[b"u"].decode(),
            offset=int(fields[b"o"]),
            step=int(fields[b"i"]),
            unless=_condition(fields[b"x"].decode()),
            target=fields[b"t"].decode(),
            attempts=int(fields[b"n"]),
            kind=Kind(fields[b"k"].decode()),
            refs=_refs(fields[b"r"]) if b"r" in fields else (),
            category=fields[b"g"].decode(),
            expires_at=expires / 1000 if expires else None,
        )
    except (KeyError, ValueError, OverflowError):  # a bad number, text, kind or JSON is a ValueError too
        return None


def _condition(text: str) -> str | None:
    if text and text not in CONDITIONS:
        raise ValueError("no condition")
    return text or None


def _refs(text: bytes) -> tuple[str, ...]:
    refs = orjson.loads(text or b"[]")
    if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        raise ValueError("no list of references")
    return tuple(refs)
