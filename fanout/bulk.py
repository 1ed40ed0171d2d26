"""The bulk lane of a partition: walks over many recipients, in small steps beside the live lane and under its lease.

However long a walk is, an event for one person waits for one step of it at most. How far a walk has come is in Redis,
so the next owner goes on where the last one stopped; what is done twice has no second effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bus.clock import Clock
from bus.codec import decode_content, encode_entry
from bus.consumer import Consumer
from bus.errors import Refused
from bus.keys import Keys
from bus.lease import Fenced, Lease
from bus.outcome import Done, Expired, Outcome, Rejected, Retry
from bus.pipe import Arg, Pipe, Reply
from bus.policy import FANOUT
from bus.queue import Entry, Queue
from bus.walk import Follow, Withdraw, from_fields
from fanout.doorbell import Doorbell
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.settings import FanoutSettings
from fanout.stats import Stats
from fanout.withdrawal import Withdrawal

BATCH: Final = 10
CHUNK: Final = 50
"""Followers per step: some milliseconds of Redis's time, which is what everybody else may wait for it."""
WAITS: Final = (0.1, 0.3, 0.6)
"""Seconds before each further try for people whom an event could not be given to; after the last one it is buried."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lane:
    """A bulk stream being worked: its consumer, and the connection on which it waits for more."""

    line: Pipe
    consumer: Consumer


def lane(
    pipe: Pipe,
    line: Pipe,
    keys: Keys,
    lease: Lease,
    publisher: Publisher,
    settings: FanoutSettings,
    clock: Clock,
    stats: Stats,
    turns: asyncio.Semaphore,
) -> Lane:
    """The bulk lane of a leased partition. `turns` is shared by all lanes of a worker, so that they take turns."""
    p = lease.partition
    stream, head = keys.bulk(p), keys.bulk_head(p)
    keep, dead = settings.keep_acked, settings.dead_size
    queue = Queue(pipe, keys, lease, batch=BATCH, keep=keep, dead=dead, stream=stream, head=head)
    withdrawal = Withdrawal(pipe, keys, p, publisher, settings, clock)
    walker = Walker(pipe, keys, lease, publisher, withdrawal, settings, clock, stats, turns)
    return Lane(line, Consumer(queue, walker.handle, FANOUT, Doorbell(line, stream), stats.queues))


class Walker:
    """Handles the entries of one bulk stream."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        lease: Lease,
        publisher: Publisher,
        withdrawal: Withdrawal,
        settings: FanoutSettings,
        clock: Clock,
        stats: Stats,
        turns: asyncio.Semaphore,
    ) -> None:
        self._pipe, self._keys, self._lease = pipe, keys, lease
        self._publisher, self._withdrawal, self._settings = publisher, withdrawal, settings
        self._clock, self._stats, self._turns = clock, stats, turns

    async def handle(self, entries: Sequence[Entry]) -> list[Outcome]:
        """An outcome for each entry, up to the first that is not finished. Raises `BusError`, `Fenced`."""
        outcomes: list[Outcome] = []
        for entry in entries:
            outcomes.append(await self._walk(entry))
            if not isinstance(outcomes[-1], Done | Expired | Rejected):
                break
        return outcomes

    async def _walk(self, entry: Entry) -> Outcome:
        match from_fields(entry.fields):
            case Follow(ref, topic):
                return await self._follow(entry.id, ref, topic)
            case Withdraw(ref):
                outcome = await self._withdrawal.walk(ref, self._turns)
                self._stats.withdrawn += isinstance(outcome, Done)
                return outcome
            case None:
                return Rejected("this is no walk")

    # Followers ---------------------------------------------------------------------------------------------------

    async def _follow(self, entry_id: str, ref: str, topic: str) -> Outcome:
        if (current := await self._current(ref)) is None:
            return Expired()
        done: str | None = None
        while users := await self._next(entry_id, topic, done):
            async with self._turns:
                outcome = await self._publisher.give(current, users)
            if isinstance(outcome, Retry):
                outcome = await self._one_by_one(entry_id, current, users)
            if not isinstance(outcome, Done):
                return outcome
            self._stats.followers += len(users)
            done = users[-1]
        return Done()

    async def _current(self, ref: str) -> Current | None:
        """The event as its body in this partition has it; None once it is withdrawn or over."""
        content, over = await self._pipe.ask("HMGET", self._keys.body(self._lease.partition, ref), "e", "x")
        event = decode_content(content) if content else None
        if event is None or over is None or self._clock.wall() >= int(over) / 1000:
            return None
        return Current(event, int(over) / 1000)

    async def _next(self, entry_id: str, topic: str, done: str | None) -> list[str]:
        """The followers after `done`, or those after where the walk was left; also notes that it is there."""
        p = self._lease.partition
        names = (self._keys.lease(p), self._keys.bulk_head(p), self._keys.members(topic, p))
        args: tuple[Arg, ...] = (
            self._lease.owner,
            self._lease.fence,
            entry_id,
            int(done is not None),
            done or "",
            CHUNK,
        )
        try:
            found: list[bytes] = await self._pipe.script("walk", names, args)
        except Refused as error:
            if error.code == "FENCED":
                raise Fenced(f"partition {p}") from None
            raise
        return [name.decode() for name in found]

    # Those whom it cannot be given to ----------------------------------------------------------------------------

    async def _one_by_one(self, entry_id: str, current: Current, users: Sequence[str]) -> Outcome:
        """Find out who is to blame, and bury the event for them alone: all others go on."""
        failed, reason = list(users), ""
        for wait in (0.0, *WAITS):
            await asyncio.sleep(wait)
            again: list[str] = []
            for user in failed:
                async with self._turns:
                    outcome = await self._publisher.give(current, (user,))
                if isinstance(outcome, Retry):
                    again.append(user)
                    reason = outcome.reason
                elif not isinstance(outcome, Done):
                    return outcome
            failed = again
        if failed:
            await self._bury(entry_id, current, failed, reason)
        return Done()

    async def _bury(self, entry_id: str, current: Current, users: Sequence[str], reason: str) -> None:
        """As an event of their own that can be sent again: in the ingest stream it is one for these users."""
        p, event = self._lease.partition, replace(current.event, users=tuple(users), topics=())
        letter: dict[str, Reply] = {"queue": "events", "entry": entry_id, "reason": reason, "attempts": len(WAITS) + 1}
        letter |= encode_entry(event, event.source) | {"i": entry_id}
        flat = [part for pair in letter.items() for part in pair]
        await self._pipe.ask("XADD", self._keys.dead(p), "MAXLEN", "~", self._settings.dead_size, "*", *flat)
        self._stats.queues.buried += 1
        log.warning(
            "buried an event for some followers",
            extra={"partition": p, "position": entry_id, "event": event.id, "count": len(users), "reason": reason},
        )
