"""Gives planned events to their audiences: all publish scripts of a batch in one go, then all entries for nodes.

Two round trips for a batch of any size. Every step can be repeated: `seen` remembers what was given, and a gateway
drops what comes twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from typing import Final

from bus.consumer import blame
from bus.errors import BusError, Refused
from bus.keys import Keys
from bus.outcome import Done, Outcome, Retry, Unavailable
from bus.pipe import Call, Pipe, Reply
from fanout.graves import Graves
from fanout.plan import Delivery, Placed, Planned, deliveries, placed, publish_call
from fanout.settings import FanoutSettings
from fanout.stats import Stats

AT_ONCE: Final = 8
"""Batches under way: enough to keep Redis busy, too few for one to wait longer in its line than a lease lasts."""


@dataclass(slots=True)
class _Job:
    """One event on its way: what came of it so far."""

    planned: Planned
    outcome: Outcome = field(default_factory=Done)
    places: list[Placed] = field(default_factory=list)
    failed: int = 0


class Publisher:
    """One per worker."""

    def __init__(self, pipe: Pipe, keys: Keys, settings: FanoutSettings, graves: Graves, stats: Stats) -> None:
        self._pipe, self._keys, self._settings, self._graves, self._stats = pipe, keys, settings, graves, stats
        self._run, self._epochs = token_hex(4), count()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def publish(self, planned: Sequence[Planned]) -> list[Outcome]:
        """Publish events in order; an outcome for each."""
        jobs = [_Job(p) for p in planned]
        async with self._turns:
            await self._append(jobs)
            await self._relay(jobs)
        return [job.outcome for job in jobs]

    async def _append(self, jobs: Sequence[_Job]) -> None:
        calls = [(job, publish) for job in jobs for publish in job.planned.calls]
        replies = await self._pipe.scripts(
            publish_call(job.planned, publish, self._keys, epoch=self._epoch(), dedupe_ttl=self._settings.dedupe_ttl)
            for job, publish in calls
        )
        for (job, publish), reply in zip(calls, replies, strict=True):
            if isinstance(reply, BusError):
                job.outcome = _worse(job.outcome, _blame(reply))
            else:
                found, failed = placed(publish, reply)
                job.places += found
                job.failed += failed
        for job in jobs:
            if job.failed:
                job.outcome = _worse(job.outcome, Retry(f"{job.failed} recipient(s) have keys of another type"))

    async def _relay(self, jobs: Sequence[_Job]) -> None:
        entries = [(job, delivery) for job in jobs for delivery in deliveries(job.planned, job.places)]
        if not entries:
            return
        replies = await self._pipe.scripts(self._deliver_call(delivery) for _, delivery in entries)
        for (job, delivery), reply in zip(entries, replies, strict=True):
            if isinstance(reply, BusError):
                self._not_relayed(job, reply)
            elif reply:
                self._stats.relayed += 1
                self._graves.answered(delivery.node)
            elif self._graves.silent(delivery.node):
                self._forget(delivery)

    def _deliver_call(self, delivery: Delivery) -> Call:
        keys, node = self._keys, delivery.node
        names = (keys.node_deliveries(node), keys.node_sequence(node), keys.node_alive(node))
        return (
            "deliver",
            names,
            (self._settings.node_stream, int(self._settings.node_stream_ttl * 1000), *delivery.fields),
        )

    def _not_relayed(self, job: _Job, error: BusError) -> None:
        outcome = _blame(error)
        if isinstance(outcome, Retry):
            # A node's broken stream is no fault of the event; the node's position checks find what it missed.
            self._stats.not_relayed += 1
        else:
            job.outcome = _worse(job.outcome, outcome)

    def _forget(self, delivery: Delivery) -> None:
        for topic in delivery.topics:
            self._pipe.post(("HDEL", self._keys.routes(topic), delivery.node), _ignore)

    def _epoch(self) -> str:
        return f"{self._run}{next(self._epochs):x}"


def _blame(error: BusError) -> Outcome:
    if isinstance(error, Refused) and error.code == "BEHIND":
        return Unavailable("an earlier event of the batch did not get through")
    return blame(error)


def _worse(first: Outcome, second: Outcome) -> Outcome:
    """What comes of an event of which parts came out differently: an outage counts no attempt, so it goes first."""
    if isinstance(first, Done):
        return second
    return second if isinstance(first, Retry) and not isinstance(second, Done) else first


def _ignore(reply: Reply) -> None:
    """A route that stays is found again with the next event."""
