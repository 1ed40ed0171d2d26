"""The one loop that works a queue in order: take, handle, settle.

An entry that itself fails is tried again while everything behind it waits, and buried with the reason when it keeps
failing; a Redis that is away or full is waited for and held against nobody. This is the only place where an exception
of any kind is caught: here it becomes the failure of the one entry that caused it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from traceback import walk_tb
from typing import Final, Protocol

from bus.codec import event_name
from bus.errors import BusDown, BusError, Refused
from bus.outcome import Done, Misconfigured, Outcome, Retry, Unavailable
from bus.policy import Defer, Pause, RetryPolicy
from bus.queue import Batch, Entry, Queue
from bus.settlement import Acked, Buried, Held, settle

Handler = Callable[[Sequence[Entry]], Awaitable[Sequence[Outcome]]]
"""Handles entries in order and says for each what came of it; fewer outcomes than entries: the rest was not tried."""

NOT_ALLOWED: Final = frozenset(("NOPERM", "NOAUTH", "WRONGPASS"))
LONGEST_REST: Final = 5.0

log = logging.getLogger(__name__)


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
    """Works one queue until `stop`."""

    def __init__(
        self,
        queue: Queue,
        handler: Handler,
        policy: RetryPolicy,
        bell: Doorbell,
        stats: QueueStats,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._queue, self._handler, self._policy, self._bell, self._stats = queue, handler, policy, bell, stats
        self._chance = chance
        self._stopping = asyncio.Event()
        self._outages = 0
        self._newest = "0-0"

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()
        self._bell.ring()

    async def run(self) -> None:
        """Work until stopped. Raises `Fenced` when the lease is over."""
        while not self._stopping.is_set():
            if not await self._turn() and not self._stopping.is_set():
                await self._bell.wait(self._newest)

    async def _turn(self) -> bool:
        """Take one batch and settle it; whether there may be more at once."""
        try:
            batch = await self._queue.take()
            self._newest = batch.newest
            if not batch.entries:
                return False
            held = await self._settle(batch, await self._outcomes(batch.entries))
        except BusError as error:
            await self._wait_out(error)
            return True
        self._outages = 0
        if held is not None:
            await self._rest(held.settlement.delay)
        return held is not None or batch.pending or len(batch.entries) >= self._queue.batch

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
        try:
            return await self._handler(entries)
        except BusError as error:
            outcome = blame(error)
        except Exception as error:
            outcome = Retry(whereabouts(error))
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
        ids = [entry.id for entry in batch.entries]
        settled = settle(ids, outcomes, batch.attempts, self._policy, self._chance())
        if settled.steps:
            fields = {entry.id: entry.fields for entry in batch.entries}
            await self._queue.settle(settled.steps, fields)
            for step in settled.steps:
                self._tell(step, fields)
        if settled.held is not None:
            await self._hold(settled.held)
        return settled.held

    def _tell(self, step: Acked | Buried, fields: Mapping[str, Mapping[bytes, bytes]]) -> None:
        if isinstance(step, Acked):
            self._stats.acked += len(step.ids)
            return
        self._stats.buried += 1
        log.warning(
            "buried an entry",
            extra={
                "partition": self._queue.partition,
                "position": step.id,
                "event": event_name(fields[step.id]),
                "reason": step.reason,
            },
        )

    async def _hold(self, held: Held) -> None:
        match held.settlement:
            case Defer(_, counted):
                self._stats.retried += 1
                if counted:
                    await self._queue.attempt(held.id)
            case Pause(delay, reason):
                log.error(
                    "a partition rests",
                    extra={"partition": self._queue.partition, "seconds": delay, "reason": reason},
                )

    # Waiting -----------------------------------------------------------------------------------------------------

    async def _wait_out(self, error: BusError) -> None:
        if self._outages == 0 and not isinstance(error, BusDown):
            log.warning("waiting for Redis", extra={"partition": self._queue.partition, "reason": str(error)})
        self._stats.bus_failures += 1
        await self._rest(min(LONGEST_REST, self._policy.outage * 2 ** min(self._outages, 10) / 4))
        self._outages += 1

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


def whereabouts(error: BaseException) -> str:
    """What kind of error and where; never its text, which may quote a payload."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    frame, line = frames[-1]
    return f"{type(error).__name__} in {frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}, line {line}"
