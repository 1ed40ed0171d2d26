"""Handles what comes from an ingest stream: publishes events, puts them off, and says what became of each entry."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from bus.clock import Clock
from bus.event import Event
from bus.outcome import Done, Outcome
from bus.queue import Entry
from fanout.look import Lapsed, Later, accepted_at, look
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.replay import Replay
from fanout.shaping import Shaper
from fanout.stats import Stats
from fanout.timers import Timers

log = logging.getLogger(__name__)


class Resolver:
    """Handles the entries of one partition."""

    def __init__(
        self,
        partition: int,
        publisher: Publisher,
        timers: Timers,
        replay: Replay,
        shaper: Shaper,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._partition, self._replay, self._shaper = partition, replay, shaper
        self._publisher, self._timers, self._clock, self._stats = publisher, timers, clock, stats

    async def handle(self, entries: Sequence[Entry]) -> list[Outcome]:
        """An outcome for each entry."""
        now = self._clock.wall()
        looked = [look(entry, self._partition, now) for entry in entries]
        looked = await self._shaper.shape(entries, looked)
        async with self._replay.turn(entries) as generations:
            outcomes = iter(await self._publish(entries, looked, generations))
        later = [item for item in looked if isinstance(item, Later)]
        put_off = iter(await self._timers.put_off(later) if later else ())
        self._stats.scheduled += len(later)
        await self._note_lapsed([item.ref for item in looked if isinstance(item, Lapsed)])
        return [_outcome(item, outcomes, put_off) for item in looked]

    async def _note_lapsed(self, refs: Sequence[str]) -> None:
        self._stats.expired += len(refs)
        if refs:
            await self._publisher.note_lapsed(self._partition, refs)

    async def _publish(
        self,
        entries: Sequence[Entry],
        looked: Sequence[Current | Later | Outcome],
        generations: Mapping[int, str],
    ) -> list[Outcome]:
        currents = [item for item in looked if isinstance(item, Current)]
        if not currents:
            return []
        outcomes = await self._publisher.publish(currents, generations)
        self._replay.note(outcomes)
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
