"""One member of a crew: says that it lives, leases the partitions that fall to it, and has each of them worked.

What it keeps in memory can be lost at any moment: where a partition stands is in Redis, and the next owner goes on
from there. A beat asks and does not wait: one server of several that is slow or away must not hold up the leases that
the others keep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from typing import Final, Protocol

from bus.clock import Clock
from bus.crew import Crew
from bus.errors import BusError
from bus.lease import Fenced, Lease, Leases
from bus.registry import Registry, owned_by

BEATS: Final = 4
"""Heartbeats per lifetime of a lease."""
TURNS: Final = 2
"""Each of so many beats keeps its part of the leases: one of a worker that lives lasts for several beats more."""
DOUBTFUL: Final = 0.5
"""Part of a lifetime for which we may have heard nothing, and still believe that who is off the list is gone."""
IMPATIENT: Final = 0.1
"""How soon we ask again for a partition that its last owner still has, in seconds."""
FAREWELL: Final = 1.0
"""How long the last leases given back may take to be so, in seconds."""

log = logging.getLogger(__name__)


class Work(Protocol):
    """What is done under a lease."""

    async def run(self) -> None:
        """Until `stop`. Raises `Fenced` when the lease is over, alone or in a group."""

    def stop(self) -> None:
        """End after what is under way."""


class LeaseStats(Protocol):
    """Where leases are counted."""

    leases: int
    leases_lost: int


@dataclass(slots=True)
class _Held:
    """A partition being worked."""

    lease: Lease
    work: Work
    task: asyncio.Task[None] | None = None
    leaving: bool = False


class Tenancy:
    """`run` until told to stop.

    `registry` and `leases` want a connection that the work does not use: a lease that ran out while it was being
    renewed would have a burst done again and again. `begin` makes the work of a lease. `ttl`: the shorter of the
    lifetimes of a member and a lease; `patience`: how long what is under way may take at the end, in seconds.
    """

    def __init__(
        self,
        name: str,
        registry: Registry,
        leases: Leases,
        partitions: int,
        begin: Callable[[Lease], Work],
        stats: LeaseStats,
        clock: Clock,
        *,
        ttl: float,
        patience: float,
    ) -> None:
        self._name, self._registry, self._leases, self._partitions = name, registry, leases, partitions
        self._begin_work, self._stats, self._clock, self._patience = begin, stats, clock, patience
        self._interval = ttl / BEATS
        self._crew = Crew(DOUBTFUL * ttl, ttl)
        self._held: dict[int, _Held] = {}
        self._mine: frozenset[int] = frozenset()
        self._asked: set[int] = set()
        """What we asked for, and were not answered yet."""
        self._missing: set[int] = set()
        """What falls to us and is not ours yet."""
        self._some_missing = asyncio.Event()
        self._open = 0
        """Questions that were not answered yet."""
        self._ending = False
        self._beaten = -inf
        self._group: asyncio.TaskGroup

    @property
    def silence(self) -> float:
        """Seconds since the last heartbeat that was answered; infinity before the first."""
        return self._clock.monotonic() - self._beaten

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions held now."""
        return tuple(self._held)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what was taken, give the leases back, and be gone."""
        async with asyncio.TaskGroup() as self._group:
            beating = self._group.create_task(self._beat())
            try:
                await stop.wait()
            finally:
                self._ending = True
            beating.cancel()
            await self._finish()

    async def _beat(self) -> None:
        """Say that we live and keep what we have, over and over; between two beats, look for what is missing."""
        for beat in count():
            self._registry.say(self._told)
            self._ask(self._mine - self._held.keys())
            self._ask([partition for partition in self._held if partition % TURNS == beat % TURNS])
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._chase()

    async def _chase(self) -> None:
        while True:
            await self._some_missing.wait()
            await asyncio.sleep(IMPATIENT)
            self._ask(self._mine - self._held.keys())

    # Which partitions --------------------------------------------------------------------------------------------

    def _told(self, listed: tuple[str, ...] | BusError) -> None:
        """Who lives; where nobody can say, those who did."""
        if self._ending:
            return
        if isinstance(listed, BusError):
            log.warning("no heartbeat", extra={"worker": self._name, "reason": str(listed)})
            return
        self._beaten = self._clock.monotonic()
        before = self._crew.members
        members = self._crew.told(listed, self._clock.monotonic())
        if members == before:
            return
        self._mine = owned_by(self._name, members, self._partitions)
        for partition in tuple(self._missing - self._mine):
            self._found(partition)
        for partition in self._held.keys() - self._mine:
            self._leave(self._held[partition])
        self._ask(self._mine - self._held.keys())

    def _ask(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            held = self._held.get(partition)
            if held is None and partition in self._asked:
                continue
            self._asked.add(partition)
            self._open += 1
            lease = held.lease if held is not None else None
            self._leases.ask(partition, lease, self._crew.members, partial(self._answered, partition))

    def _answered(self, partition: int, lease: Lease | BusError | None) -> None:
        self._open -= 1
        self._asked.discard(partition)
        if isinstance(lease, BusError):
            return  # it runs out by itself; until then, and without others to tell, we go on
        held = self._held.get(partition)
        if held is not None and held.lease != lease:
            self._abandon(held)
            held = None
        if partition not in self._mine or self._ending:
            if held is None and lease is not None:
                self._return(lease)
        elif lease is None:
            self._miss(partition)
        elif held is None:
            self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        self._found(lease.partition)
        held = self._held[lease.partition] = _Held(lease, self._begin_work(lease))
        self._stats.leases = len(self._held)
        held.task = self._group.create_task(self._run(held))

    def _return(self, lease: Lease) -> None:
        """Give back what was renewed in the moment in which its work ended, or came too late."""

        def returned(_: object) -> None:
            self._open -= 1

        self._open += 1
        self._leases.drop(lease, returned)

    def _miss(self, partition: int) -> None:
        self._missing.add(partition)
        self._some_missing.set()

    def _found(self, partition: int) -> None:
        self._missing.discard(partition)
        if not self._missing:
            self._some_missing.clear()

    def _leave(self, held: _Held) -> None:
        """End after what is under way."""
        held.leaving = True
        held.work.stop()

    def _abandon(self, held: _Held) -> None:
        """End at once: the lease is over."""
        self._stats.leases_lost += not held.leaving
        self._forget(held)
        if held.task is not None:
            held.task.cancel()

    def _forget(self, held: _Held) -> None:
        if self._held.get(held.lease.partition) is held:
            del self._held[held.lease.partition]
            self._stats.leases = len(self._held)

    # Working one -------------------------------------------------------------------------------------------------

    async def _run(self, held: _Held) -> None:
        try:
            await held.work.run()
        except* Fenced:
            self._stats.leases_lost += 1
            partition = held.lease.partition
            log.info("a partition has another owner", extra={"worker": self._name, "partition": partition})
        else:
            # What is not given back runs out.
            with suppress(BusError):
                await self._leases.release(held.lease)
        finally:
            self._forget(held)
            if held.lease.partition in self._mine.difference(self._held):
                self._miss(held.lease.partition)

    async def _finish(self) -> None:
        """End everything, and keep the leases until it has: what is under way may take longer than they last."""
        tasks = {held.task for held in self._held.values() if held.task is not None}
        for held in tuple(self._held.values()):
            self._leave(held)
        with suppress(BusError, TimeoutError):
            async with asyncio.timeout(self._patience):
                # Who is off the list has them only for as long as they were kept lately.
                self._ask(self._held.keys())
                await self._registry.leave()
                while tasks:
                    _, tasks = await asyncio.wait(tasks, timeout=self._interval)
                    self._ask(self._held.keys())
        await self._give_up(tuple(self._held.values()))

    async def _give_up(self, late: Iterable[_Held]) -> None:
        """End what did not end in time, and let the next owner have it at once."""
        tasks = [held.task for held in late if held.task is not None and held.task.cancel()]
        if tasks:
            await asyncio.wait(tasks)
        for held in late:
            self._return(held.lease)
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._open:  # noqa: ASYNC110  # whoever is cut off in the middle of this does no harm
                    await asyncio.sleep(IMPATIENT / 10)
