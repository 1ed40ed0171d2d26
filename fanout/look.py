"""What one entry of an ingest stream means: reject it, let it lapse, put it off, or publish it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bus.codec import decode_entry
from bus.event import Invalid
from bus.outcome import Expired, Outcome, Rejected
from bus.queue import Entry
from fanout.plan import Current

PLAUSIBLE: Final = 1_000_000_000
"""An id that names an earlier time (September 2001) was made by hand and says nothing about acceptance."""
AT_ONCE: Final = 10.0
"""An event with `ttl` 0 is for now or never; so many seconds after it was accepted still count as now."""
_ENTRY_ID: Final = re.compile(rb"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True)
class Lapsed(Expired):
    """The time of an event was over before a worker came to it."""

    ref: str


@dataclass(frozen=True, slots=True)
class Later:
    """An entry whose event is due at Unix time `at` and over at `over`; `origin`: id of the entry it first came in."""

    at: float
    origin: str
    fields: Mapping[bytes, bytes]
    ref: str
    over: float

    @property
    def member(self) -> bytes:
        """What stands for it in the sorted set; the same however often it is put there."""
        producer = self.fields.get(b"p", b"").replace(b"\n", b" ")
        return b"\n".join((b"event", self.origin.encode(), producer, self.fields[b"e"]))


def look(entry: Entry, partition: int, now: float) -> Current | Later | Outcome:
    """What to do with an entry at Unix time `now`: publish the event, put it off, or be done with it."""
    due, first = _entry_id(entry.fields.get(b"d")), _entry_id(entry.fields.get(b"i"))
    origin = due or entry.id
    accepted = accepted_at(origin, now)
    event = decode_entry(f"{due or first or entry.id}.{partition}", entry.fields, accepted)
    if isinstance(event, Invalid):
        return Rejected(str(event))
    if event.at is not None and event.at > now and origin == entry.id:
        return Later(event.at, origin, entry.fields, event.ref, event.at + (event.ttl or AT_ONCE))
    over = max(accepted, event.at or 0.0) + (event.ttl or AT_ONCE)
    return Lapsed(event.ref) if now > over else Current(event, over)


def _entry_id(value: bytes | None) -> str | None:
    """A field that names an earlier entry of this event: `d`, which was put off, or `i`, which was buried."""
    return value.decode() if value and _ENTRY_ID.fullmatch(value) else None


def accepted_at(entry_id: str, now: float) -> float:
    """When Redis took an entry, by its id; `now` where the id does not say."""
    seconds = int(entry_id.partition("-")[0]) / 1000
    return seconds if PLAUSIBLE <= seconds <= now else now
