"""The one loop that works a queue: take, handle, settle.

A queue in order is worked batch after batch: an entry that itself fails is tried again while everything behind it
waits, and buried with the reason when it keeps failing. Given a window, the loop works many entries at once, each
handled and settled by itself, so that a slow one holds nobody up. A Redis that is away or full is waited for and held
against nobody; a bug is the failure of the one entry that found it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from bus.bulkhead import Bug, contained
from bus.codec import event_name
from bus.door import Anywhere, Place
from bus.errors import BusDown, BusError, Refused
from bus.outcome import Done, Misconfigured, Outcome, Rejected, Retry, Unavailable
from bus.policy import Defer, Pause, RetryPolicy
from bus.queue import Batch, Entry, Line
from bus.settlement import Acked, Buried, Held, Settled
from bus.window import ANYONE, Window

Handler = Callable[[Sequence[Entry]], Awaitable[Sequence[Outcome]]]
"""Handles entries in order and says for each what came of it; fewer outcomes than entries: the rest was not tried."""

NOT_ALLOWED: Final = frozenset(("NOPERM", "NOAUTH", "WRONGPASS"))
LONGEST_REST: Final = 5.0
LOOK_AGAIN: Final = 0.1
"""How often who waits for a place looks whose entries have come, in seconds."""
MOST_DEATHS: Final = 3
"""So many workers may end over one entry before it is taken to be the cause."""

log = logging.getLogger(__name__)


@runtime_checkable
class Crowded(Protocol):
    """A queue whose entries may be taken by source, past others: `bus.jobs.Jobs`."""

    @property
    def crowded(self) -> bool:
        """Whether more wait than there was room for."""

    def source(self, entry: Entry) -> str:
        """Whose an entry is."""

    async def look(self) -> Mapping[str, int]:
        """How many wait, by source; nothing where they are to be taken as they come. Raises `Fenced`, `BusError`."""

    async def pick(self, source: str, room: int) -> Batch:
        """At most `room` of the next of a source. Raises `Fenced`, `BusError`."""


class Doorbell(Protocol):
    """Tells when a queue may have more."""

    async def wait(self, position: str) -> None:
        """Return when there may be entries after this id, or on `ring`."""

    def ring(self) -> None:
        """Make the wait under way return."""


@dataclass(slots=True)
class QueueStats:
    """Counters, shared by all queues of a process."""

    taken: int = 0
    acked: int = 0
    buried: int = 0
    retried: int = 0
    trimmed: int = 0
    """Pending entries that somebody had trimmed from the stream."""
    bus_failures: int = 0


class Consumer:
    """Works one queue until `stop`; without a `window` in order, each batch in its `place`."""

    def __init__(
        self,
        queue: Line,
        handler: Handler,
        policy: RetryPolicy,
        bell: Doorbell,
        stats: QueueStats,
        *,
        window: Window | None = None,
        place: Place | Anywhere | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._queue, self._handler, self._policy, self._bell, self._stats = queue, handler, policy, bell, stats
        self._window, self._place = window, place or Anywhere()
        self._crowd = queue if isinstance(queue, Crowded) else None
        self._chance = chance
        self._stopping = asyncio.Event()
        self._outages = 0
        self._newest = "0-0"
        self._wait: float | None = None

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self._place.give_up()
        self._bell.ring()

    async def run(self) -> None:
        """Work until stopped. Raises `Fenced` when the lease is over, with a window in a group of exceptions."""
        if self._window is None:
            await self._loop(self._batch)
            return
        window = self._window
        async with asyncio.TaskGroup() as group:
            await self._loop(lambda: self._many(window, group))

    async def _loop(self, turn: Callable[[], Awaitable[bool]]) -> None:
        while not self._stopping.is_set():
            try:
                more = await turn()
            except BusError as error:
                await self._wait_out(error)
                continue
            self._outages = 0
            if not more and not self._stopping.is_set():
                await self._until_more()

    async def _until_more(self) -> None:
        if self._wait is None:
            await self._bell.wait(self._newest)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait):
                await self._bell.wait(self._newest)

    # In order ----------------------------------------------------------------------------------------------------

    async def _batch(self) -> bool:
        """Take one batch and settle it; whether there may be more at once."""
        async with self._place.inside() as let_in:
            if not let_in or self._stopping.is_set():
                return False
            batch = await self._take(self._queue.batch)
            if not batch.entries:
                return False
            held = await self._settle(batch, await self._outcomes(batch.entries))
        if held is not None:
            await self._rest(held.settlement.delay)
        return held is not None or batch.pending or len(batch.entries) >= self._queue.batch

    async def _take(self, room: int) -> Batch:
        batch = await self._queue.take(room)
        self._newest, self._wait = batch.newest, batch.wait
        return batch

    # Many at once ------------------------------------------------------------------------------------------------

    async def _many(self, window: Window, group: asyncio.TaskGroup) -> bool:
        """Begin as many as there is room for; whether there may be more at once."""
        queue = self._crowd
        if queue is not None and (queue.crowded or window.full) and (wants := await queue.look()):
            return await self._fairly(queue, wants, window, group)
        alone = self._queue.wary
        room = await (window.reserve_all() if alone else window.reserve(self._queue.batch))
        begun = 0
        try:
            if self._stopping.is_set():
                return False
            batch = await self._take(1 if alone else room)
            for entry in batch.entries:
                places = room if alone else 1
                source = ANYONE if queue is None else queue.source(entry)
                window.name(source, places)
                group.create_task(self._one(Batch((entry,)), window, places, source))
                begun += places
        finally:
            window.release(room - begun)
        return batch.pending or begun >= room

    async def _fairly(self, queue: Crowded, wants: Mapping[str, int], window: Window, group: asyncio.TaskGroup) -> bool:
        """Begin as many as there is room for, of the source whose turn it is."""
        request, turn = window.ask(wants, self._queue.batch), None
        begun = 0
        try:
            while (turn := await window.turn(request, LOOK_AGAIN)) is None:
                if self._stopping.is_set():
                    return False
                # Another source may have come meanwhile.
                window.want(request, await queue.look() or wants)
            if not self._stopping.is_set():
                for entry in (await queue.pick(turn.source, turn.places)).entries:
                    group.create_task(self._one(Batch((entry,)), window, 1, turn.source))
                    begun += 1
        finally:
            if turn is None:
                window.withdraw(request)
            else:
                window.release(turn.places - begun, turn.source)
        return True

    async def _one(self, batch: Batch, window: Window, places: int, source: str) -> None:
        """Handle one entry and settle it, however long Redis is away: what is known of it must not be lost."""
        try:
            self._stats.taken += 1
            outcomes = await self._handle(batch.entries)
            failures = 0
            while not await self._settled(batch, outcomes, failures):
                failures += 1
        finally:
            window.release(places, source)

    async def _settled(self, batch: Batch, outcomes: Sequence[Outcome], failures: int) -> bool:
        try:
            held = await self._settle(batch, outcomes)
        except BusError as error:
            self._stats.bus_failures += 1
            if isinstance(error, Refused) and not error.passing and error.code not in NOT_ALLOWED:
                # Redis will say so again; the entry stays pending, for the next owner to try.
                partition, position = self._queue.partition, batch.entries[0].id
                log.error(
                    "an entry cannot be settled",
                    extra={"partition": partition, "position": position, "reason": error.code},
                )
                return True
            await asyncio.sleep(self._backoff(failures))
            return False
        if held is not None:
            self._bell.ring()
        return True

    # Handling ----------------------------------------------------------------------------------------------------

    async def _outcomes(self, entries: Sequence[Entry]) -> list[Outcome]:
        present = [entry for entry in entries if entry.fields]
        self._stats.taken += len(present)
        self._stats.trimmed += len(entries) - len(present)
        handled = iter(await self._handle(present) if present else ())
        outcomes: list[Outcome] = []
        for entry in entries:
            outcome = next(handled, None) if entry.fields else Done()
            if outcome is None:
                break
            outcomes.append(outcome)
        return outcomes

    async def _handle(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        """Outcomes of a batch; when it fails as a whole, of its entries one by one, to find the one to blame."""
        if entries[0].deaths >= MOST_DEATHS:
            return (Rejected(f"{entries[0].deaths} workers ended while they had it"),)
        try:
            found = await contained(self._handler(entries))
        except BusError as error:
            outcome = blame(error)
        else:
            if not isinstance(found, Bug):
                return found
            outcome = Retry(found.where)
        if len(entries) == 1 or not isinstance(outcome, Retry):
            return (outcome,)
        outcomes: list[Outcome] = []
        for entry in entries:
            outcomes += await self._handle((entry,))
            if isinstance(outcomes[-1], Retry | Unavailable | Misconfigured):
                break
        return outcomes

    # Settling ----------------------------------------------------------------------------------------------------

    async def _settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> Held | None:
        settled = await self._queue.settle(batch, outcomes, self._policy, self._chance())
        self._tell(settled, {entry.id: entry.fields for entry in batch.entries})
        return settled.held

    def _tell(self, settled: Settled, fields: Mapping[str, Mapping[bytes, bytes]]) -> None:
        for step in settled.steps:
            match step:
                case Acked(ids):
                    self._stats.acked += len(ids)
                case Buried(entry_id, reason):
                    self._stats.buried += 1
                    name, partition = event_name(fields[entry_id]), self._queue.partition
                    log.warning(
                        "buried an entry",
                        extra={"partition": partition, "position": entry_id, "reason": reason, "event": name},
                    )
        match settled.held:
            case Held(_, Defer()):
                self._stats.retried += 1
            case Held(entry_id, Pause(delay, reason)):
                partition = self._queue.partition
                log.error(
                    "a partition rests",
                    extra={"partition": partition, "position": entry_id, "reason": reason, "seconds": delay},
                )

    # Waiting -----------------------------------------------------------------------------------------------------

    async def _wait_out(self, error: BusError) -> None:
        if self._outages == 0 and not isinstance(error, BusDown):
            log.warning("waiting for Redis", extra={"partition": self._queue.partition, "reason": str(error)})
        self._stats.bus_failures += 1
        await self._rest(self._backoff(self._outages))
        self._outages += 1

    def _backoff(self, failures: int) -> float:
        return min(LONGEST_REST, self._policy.outage * 2.0 ** min(failures, 10) / 4)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def blame(error: BusError) -> Outcome:
    """Whether an entry is to blame for what Redis said, or Redis itself, or our own rights there."""
    match error:
        case Refused() if error.code in NOT_ALLOWED:
            return Misconfigured(f"Redis does not let us: {error.code}")
        case Refused() if not error.passing:
            return Retry(f"Redis refused: {error.code}")
        case _:
            return Unavailable(type(error).__name__)
