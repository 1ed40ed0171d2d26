"""What one entry of an ingest stream means: reject it, let it lapse, put it off, or publish it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bus.clock import Clock
from bus.codec import decode_entry
from bus.event import Event, Invalid
from bus.outcome import Done, Expired, Outcome, Rejected
from bus.queue import Entry
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.stats import Stats
from fanout.timers import Later, Timers

log = logging.getLogger(__name__)

PLAUSIBLE: Final = 1_000_000_000
"""An id that names an earlier time (September 2001) was made by hand and says nothing about acceptance."""
AT_ONCE: Final = 10.0
"""An event with `ttl` 0 is for now or never; so many seconds after it was accepted still count as now."""
_ENTRY_ID: Final = re.compile(rb"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True)
class Lapsed(Expired):
    """The time of an event was over before a worker came to it."""

    ref: str


class Resolver:
    """Handles the entries of one partition."""

    def __init__(self, partition: int, publisher: Publisher, timers: Timers, clock: Clock, stats: Stats) -> None:
        self._partition = partition
        self._publisher, self._timers, self._clock, self._stats = publisher, timers, clock, stats

    async def handle(self, entries: Sequence[Entry]) -> list[Outcome]:
        """An outcome for each entry."""
        now = self._clock.wall()
        looked = [look(entry, self._partition, now) for entry in entries]
        outcomes = iter(await self._publish(entries, looked))
        later = [item for item in looked if isinstance(item, Later)]
        put_off = iter(await self._timers.put_off(later) if later else ())
        self._stats.scheduled += len(later)
        await self._note_lapsed([item.ref for item in looked if isinstance(item, Lapsed)])
        return [_outcome(item, outcomes, put_off) for item in looked]

    async def _note_lapsed(self, refs: Sequence[str]) -> None:
        self._stats.expired += len(refs)
        if refs:
            await self._publisher.note_lapsed(self._partition, refs)

    async def _publish(self, entries: Sequence[Entry], looked: Sequence[Current | Later | Outcome]) -> list[Outcome]:
        currents = [item for item in looked if isinstance(item, Current)]
        if not currents:
            return []
        outcomes = await self._publisher.publish(currents)
        done = self._clock.wall()
        ids = (entry.id for entry, item in zip(entries, looked, strict=True) if isinstance(item, Current))
        for current, entry_id, outcome in zip(currents, ids, outcomes, strict=True):
            if isinstance(outcome, Done):
                self._tell(current.event, entry_id, done)
        return outcomes

    def _tell(self, event: Event, entry_id: str, done: float) -> None:
        log.debug(
            "published",
            extra={"event": event.id, "source": event.source, "partition": self._partition, "position": entry_id},
        )
        self._stats.published += 1
        self._stats.recipients += len(event.users) + len(event.topics)
        self._stats.latency.observe(max(0.0, done - accepted_at(entry_id, done)))


def _outcome(item: Current | Later | Outcome, outcomes: Iterator[Outcome], put_off: Iterator[Outcome]) -> Outcome:
    match item:
        case Current():
            return next(outcomes)
        case Later():
            return next(put_off)
        case _:
            return item


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
