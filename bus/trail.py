"""A person's trail: what became of each notification, step by step, in the words that all roles share.

Scripts write it, in the step that it tells of, as entries of the stream `trail` of a user:
`XADD trail MAXLEN ~ 4000 * e <escaped ref> k <kind> c <channel or ''> r <reason> n <attempt>`. The time is the entry's
id, by Redis's clock. `e` is escaped as in keys and in the field `b` of an inbox, for that is all that scripts know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SIZE: Final = 4_000
"""About how many entries are kept of a person."""
MAX_REASON: Final = 300
"""Longest reason, in characters; longer ones are cut."""


class Kind(StrEnum):
    """What happened. A reason never quotes an address, a token or content."""

    WRITTEN = "written"
    """Put on a socket of theirs."""
    ACKED = "acked"
    """A session or device of theirs has it."""
    READ = "read"
    UNREAD = "unread"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    QUEUED = "queued"
    """A job for the senders of the channel."""
    SKIPPED = "skipped"
    """A step that was not taken for this person, with why (a preference, no target)."""
    DEFERRED = "deferred"
    """Put off, with why; the reason ends with `until <Unix seconds>` where that is known."""
    CANCELLED = "cancelled"
    """A step that was not needed any more, with why (acked, read, withdrawn)."""
    DIGESTED = "digested"
    """Gathered for one message with others."""
    SENT = "sent"
    """The provider took it."""
    DELIVERED = "delivered"
    """The provider says that it arrived."""
    FAILED = "failed"
    """For good."""
    RETRY = "retry"
    """An attempt that failed and will be made again."""
    GONE = "gone"
    """The target no longer exists."""
    EXPIRED = "expired"
    """Its time was over before it could be sent."""
    WITHDRAWN = "withdrawn"
    """The producer took the event back."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One entry. `at`: Unix time in seconds; `ref`: escaped; `channel`: '' where none; `attempt`: 0 where none."""

    at: float
    ref: str
    kind: Kind
    channel: str = ""
    reason: str = ""
    attempt: int = 0


def encode(ref: str, kind: Kind, channel: str = "", reason: str = "", attempt: int = 0) -> tuple[str, ...]:
    """The fields of an entry as XADD takes them: name, value, … `ref` is escaped."""
    return ("e", ref, "k", kind.value, "c", channel, "r", reason[:MAX_REASON], "n", str(attempt))


def decode(entry_id: bytes, flat: Sequence[bytes]) -> Trace | None:
    """An entry as Redis gives it (id; name, value, …); None for a kind that only a newer release knows."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    kind = _KINDS.get(_text(fields, b"k"))
    if kind is None:
        return None
    attempt = _text(fields, b"n")
    return Trace(
        at=int(entry_id.partition(b"-")[0]) / 1000,
        ref=_text(fields, b"e"),
        kind=kind,
        channel=_text(fields, b"c"),
        reason=_text(fields, b"r"),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
    )


_KINDS: Final = {kind.value: kind for kind in Kind}


def _text(fields: dict[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")
