"""One member of a crew: says that it lives, leases the partitions that fall to it, and has each of them worked.

What it keeps in memory can be lost at any moment: where a partition stands is in Redis, and the next owner goes on
from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from bus.errors import BusError
from bus.lease import Fenced, Lease, Leases
from bus.registry import Registry, owned_by

BEATS: Final = 4
"""Heartbeats per lifetime of a lease."""
IMPATIENT: Final = 0.1
"""How soon we ask again for a partition that its last owner still has, in seconds."""

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
    lifetimes of a member and a lease; `patience`: how long what is under way may take at the end, in seconds; `before`:
    what every beat begins with, before any lease is taken. It may raise `BusError`.
    """

    def __init__(
        self,
        name: str,
        registry: Registry,
        leases: Leases,
        partitions: int,
        begin: Callable[[Lease], Work],
        stats: LeaseStats,
        *,
        ttl: float,
        patience: float,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._name, self._registry, self._leases, self._partitions = name, registry, leases, partitions
        self._begin_work, self._stats, self._patience, self._before = begin, stats, patience, before
        self._interval = ttl / BEATS
        self._held: dict[int, _Held] = {}

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions held now."""
        return tuple(self._held)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what was taken, give the leases back, and be gone."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                wait = await self._beat(group)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await stop.wait()
            await self._finish()

    # Which partitions --------------------------------------------------------------------------------------------

    async def _beat(self, group: asyncio.TaskGroup) -> float:
        """Renew everything, begin and end what has to; returns after how many seconds to beat again."""
        try:
            if self._before is not None:
                await self._before()
            mine = owned_by(self._name, await self._registry.beat(), self._partitions)
            for partition in self._held.keys() - mine:
                self._leave(self._held[partition])
            found = await self._leases.hold(mine | self._held.keys())
        except BusError as error:
            # The leases run out by themselves; until then, and without others to tell, we go on.
            log.warning("no heartbeat", extra={"worker": self._name, "reason": str(error)})
            return self._interval
        for partition, lease in found.items():
            self._update(group, partition, lease, partition in mine)
        await self._give_back(lease for lease in found.values() if lease is not None)
        self._stats.leases = len(self._held)
        missing = any(found[partition] is None for partition in mine)
        return min(IMPATIENT, self._interval) if missing else self._interval

    def _update(self, group: asyncio.TaskGroup, partition: int, lease: Lease | None, mine: bool) -> None:
        held = self._held.get(partition)
        if held is not None and held.lease != lease:
            self._abandon(held)
            held = None
        if held is None and lease is not None and mine:
            held = self._held[partition] = _Held(lease, self._begin_work(lease))
            held.task = group.create_task(self._run(held))

    async def _give_back(self, leases: Iterable[Lease]) -> None:
        """Release what was renewed in the moment in which its work ended."""
        for lease in leases:
            if lease.partition not in self._held:
                with suppress(BusError):
                    await self._leases.release(lease)

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

    async def _finish(self) -> None:
        """End everything, and keep the leases until it has: what is under way may take longer than they last."""
        tasks = {held.task for held in self._held.values() if held.task is not None}
        for held in tuple(self._held.values()):
            self._leave(held)
        with suppress(BusError):
            await self._registry.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while tasks:
                    _, tasks = await asyncio.wait(tasks, timeout=self._interval)
                    await self._renew()
        await self._give_up(tuple(self._held.values()))

    async def _give_up(self, late: Iterable[_Held]) -> None:
        """End what did not end in time, and let the next owner have it at once."""
        tasks = [held.task for held in late if held.task is not None and held.task.cancel()]
        if tasks:
            await asyncio.wait(tasks)
        await self._give_back(held.lease for held in late)

    async def _renew(self) -> None:
        with suppress(BusError):
            for partition, lease in (await self._leases.hold(self._held)).items():
                held = self._held.get(partition)
                if held is not None and held.lease != lease:
                    self._abandon(held)
                elif held is None and lease is not None:
                    await self._leases.release(lease)
